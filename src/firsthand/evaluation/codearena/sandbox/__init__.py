"""Running a program that nobody trusts, and knowing what it used."""
