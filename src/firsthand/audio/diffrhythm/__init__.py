"""DiffRhythm (arXiv 2503.01183): whole songs by latent diffusion. Planned."""
