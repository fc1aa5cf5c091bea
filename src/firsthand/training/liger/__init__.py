"""Liger (arXiv 2503.01496): turn a transformer into a gated recurrence. Planned."""
