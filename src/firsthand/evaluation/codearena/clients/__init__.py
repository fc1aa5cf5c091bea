"""Asking an arena over HTTP, and models that compete in it."""
