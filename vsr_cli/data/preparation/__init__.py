"""Preparing a dataset: reading stories, storing chunks, and writing the tables and the manifest."""
