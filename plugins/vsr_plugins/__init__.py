"""The components that vsr ships: each folder here is what a third party would publish, less its pyproject.toml."""
