"""Query: answer questions to a database sooner."""
