"""Whether a component keeps what its kind promises, told one line a check."""
