"""3D vision: reconstruct, repair and make scenes and assets."""
