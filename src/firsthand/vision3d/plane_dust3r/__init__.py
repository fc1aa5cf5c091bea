"""Plane-DUSt3R (arXiv 2502.16779): room layout from photos without poses. Planned."""
