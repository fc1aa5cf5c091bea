"""Get-go (arXiv 2502.19402): reward-based training from the start. Planned."""
