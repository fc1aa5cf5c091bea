"""Text that every machine has or can make: docstrings and code of installed Python, and damage to them."""

from firsthand.corpora.degrade import (
    boilerplate,
    character_noise,
    hex_dump,
    mixture,
    number_table,
    word_shuffle,
)
from firsthand.corpora.documents import Corpus, Document, Taken
from firsthand.corpora.python_text import package_documentation, python_text

__all__ = [
    "Corpus",
    "Document",
    "Taken",
    "boilerplate",
    "character_noise",
    "hex_dump",
    "mixture",
    "number_table",
    "package_documentation",
    "python_text",
    "word_shuffle",
]
