"""The documentation: pages, and the programs that complete and check them."""
