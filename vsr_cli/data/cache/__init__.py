"""The frozen-feature cache: rows of features by content, shared by all prepared data and runs."""
