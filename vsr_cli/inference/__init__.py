"""Prediction with a trained model, outside the evaluation protocol."""
