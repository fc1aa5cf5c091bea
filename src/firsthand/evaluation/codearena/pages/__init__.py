"""The web pages of an arena, made on the server."""
