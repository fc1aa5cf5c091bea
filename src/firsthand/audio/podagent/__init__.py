"""PodAgent (arXiv 2503.00455): a talk show from a topic. Planned."""
