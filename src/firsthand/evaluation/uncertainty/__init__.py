"""Apprehensive LLM (arXiv 2503.01688): when uncertainty predicts errors. Planned."""
