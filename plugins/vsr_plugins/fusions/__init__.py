"""Fusions: join the image and text embeddings of each frame."""
