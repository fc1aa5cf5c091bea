"""Audio: speech, songs and signals."""
