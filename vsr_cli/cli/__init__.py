"""What users type: one file per command, with its signature and its work."""
