"""A test-only room."""
