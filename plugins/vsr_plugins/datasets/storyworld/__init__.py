"""Storyworld: illustrated stories generated from a random seed, to try everything without a download."""
