"""The work that several commands share, and the modes of commands: --dry-run, --folds, --protocol leaky."""
