"""VideoUFO (arXiv 2503.01739): collect video for what users ask for. Planned."""
