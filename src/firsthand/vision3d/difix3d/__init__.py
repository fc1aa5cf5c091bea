"""Difix3D+ (arXiv 2503.01774): clean renders and distil them into the scene. Planned."""
