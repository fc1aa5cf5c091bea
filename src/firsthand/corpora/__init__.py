"""Corpora: text that every machine has or can make, and documents in files of any size, read, cut, written.

Text at hand (`python_text`, `package_documentation`) and damage to it serve checks and tests, and are named here.
The engine of the data rooms has a module for each of its parts, imported by name so that a check rests on those
alone that it uses: `files` (found and streamed in, here or behind a URL), `writing`, `output` (written exactly
once), `threshold` and `quotas` (cuts by score and size, exact in constant memory), `quantiles` (the same in one
mergeable pass), `near_duplicates`, `ids`.
"""

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
