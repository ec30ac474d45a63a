"""The model: parts built by name, wired together, with what it is trained for."""
