"""Text decoders: write the text of the next frame."""
