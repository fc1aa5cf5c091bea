"""Training: change what a model can do, or what it costs to run."""
