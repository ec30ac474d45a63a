"""Visual story reasoning on the command line: four (image, text) pairs in, the fifth out."""

__version__ = "0.2.0.dev0"
