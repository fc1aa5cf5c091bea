"""The catalogue: what each of the 27 systems is, which rooms exist, and how to read a digest."""
