"""One short module a command: it resolves what was typed, then imports the floors that do the work."""
