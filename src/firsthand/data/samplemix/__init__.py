"""SampleMix (arXiv 2503.01506): mix pre-training data document by document. Planned."""
