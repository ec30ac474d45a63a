"""What the command line adds to Typer: commands imported on use, bundles of options, and usage errors in one line."""
