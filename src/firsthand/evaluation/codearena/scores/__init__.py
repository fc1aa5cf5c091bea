"""Attempts, points, boards, ratings and what tells of leaks, as pure functions."""
