"""Qilin (arXiv 2503.00501): a workbench for search and feed sessions. Planned."""
