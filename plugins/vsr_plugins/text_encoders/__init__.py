"""Text encoders: turn texts into embeddings."""
