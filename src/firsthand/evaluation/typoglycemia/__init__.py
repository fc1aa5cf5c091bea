"""Typoglycemia (arXiv 2503.01714): how models read scrambled words. Planned."""
