"""The run folder: what a trained model is, its history and its stored evaluations."""
