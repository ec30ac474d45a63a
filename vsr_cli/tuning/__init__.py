"""Searches for the settings with the lowest validation loss: many training runs, of which hopeless ones are stopped."""
