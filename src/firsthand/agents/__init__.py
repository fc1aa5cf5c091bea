"""Agents: models that act, and what can go wrong."""
