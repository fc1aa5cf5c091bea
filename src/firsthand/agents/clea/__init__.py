"""CLEA (arXiv 2503.00729): a robot's plan, checked before every step. Planned."""
