"""The training loop and what people see of it."""
