"""The configuration of a command: its options, and how presets, files, flags and `--set` resolve to them."""
