"""The command line: one file per command, with its signature and its work."""
