"""Metrics: score predicted texts and images."""
