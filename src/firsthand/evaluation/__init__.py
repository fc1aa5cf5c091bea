"""Evaluation: find out what a model knows, and when to believe it."""
