"""Temporal models: read the frames of a story in order and summarize them."""
