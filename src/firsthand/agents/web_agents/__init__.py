"""Web-agent vulnerability (arXiv 2502.20383): which part of an agent weakens a model. Planned."""
