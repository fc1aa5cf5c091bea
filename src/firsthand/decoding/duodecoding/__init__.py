"""DuoDecoding (arXiv 2503.00784): draft on the CPU while the GPU checks. Planned."""
