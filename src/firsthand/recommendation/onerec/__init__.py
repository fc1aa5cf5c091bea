"""OneRec (arXiv 2502.18965): generate whole sessions of items. Planned."""
