"""SpeQL (arXiv 2503.00714): answer SQL while it is being typed. Planned."""
