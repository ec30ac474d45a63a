"""Visual encoders: turn images into embeddings."""
