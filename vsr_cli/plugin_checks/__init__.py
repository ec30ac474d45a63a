"""Whether a component keeps what its kind promises, describe one line a check."""
