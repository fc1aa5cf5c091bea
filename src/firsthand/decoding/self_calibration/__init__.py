"""Self-Calibration (arXiv 2503.00031): confidence that spends samples well. Planned."""
