"""Kiss3DGen (arXiv 2503.01370): 3D assets as one bundle image. Planned."""
