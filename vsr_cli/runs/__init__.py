"""Run folders: configuration, weights, training history and stored evaluations."""
