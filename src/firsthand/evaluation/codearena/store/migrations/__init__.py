"""How an arena's tables came to be what they are, step by step; run by `database.upgrade`."""
