"""Each library's networks, built, filled with weights and bare of their classifiers."""
