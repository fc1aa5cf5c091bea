"""Visual-RFT (arXiv 2503.01785): reinforcement fine-tuning for perception. Planned."""
