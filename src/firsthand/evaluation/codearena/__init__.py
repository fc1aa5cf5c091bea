"""CodeArena (arXiv 2503.01295): judge code by how the field did. Planned."""
