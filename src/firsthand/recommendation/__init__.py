"""Recommendation: rank and generate what a user sees next."""
