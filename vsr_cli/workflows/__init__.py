"""What the commands and the Python API do: prepare, train and evaluate, and the resolution of their settings."""
