"""Ablations: many training runs on the same stories, and their comparison."""
