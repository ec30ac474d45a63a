"""Datasets: read stories from folders, tables, JSON files and the Hugging Face hub."""
