"""Image decoders: generate the image of the next frame."""
