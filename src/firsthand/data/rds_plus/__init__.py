"""RDS+ (arXiv 2503.01807): select instruction data by representation. Planned."""
