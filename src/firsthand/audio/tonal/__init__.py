"""Tonal languages (arXiv 2503.01063): text as semitones, and finding it. Planned."""
