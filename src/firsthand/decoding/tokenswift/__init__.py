"""TokenSwift (arXiv 2502.18890): fast generation of very long texts. Planned."""
