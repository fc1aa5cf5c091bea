"""DDO (arXiv 2503.01103): sharpen a likelihood model as its own discriminator. Planned."""
