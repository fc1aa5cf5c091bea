"""Decoding: get answers out of a model faster, or better ones for the same samples."""
