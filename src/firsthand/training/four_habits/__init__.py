"""Four Habits (arXiv 2503.01307): behaviours that let RL improve a reasoner. Planned."""
