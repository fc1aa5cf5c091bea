"""Corpora: text that every machine has or can make, and documents in files of any size, read, cut, written.

Text at hand (`python_text`, `package_documentation`) and damage to it (`degrade`) serve checks and tests. The
rest is the engine of the data rooms: files of documents on this machine or behind a URL, streamed
(`find_inputs`, `read_documents`, `open_writer`); cuts by score and size, exact in constant memory
(`find_threshold`, `find_quotas`) or in one mergeable pass (`QuantileSketch`); near-duplicates; output that is
written exactly once (`OutputFolder`).
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
from firsthand.corpora.files import Batch, InputFile, Layout, find_inputs, read_batches, read_documents
from firsthand.corpora.ids import UniqueIds, seeded_order
from firsthand.corpora.near_duplicates import (
    NearDuplicates,
    NearDuplicateWarning,
    find_near_duplicates,
    warn_near_duplicates,
)
from firsthand.corpora.output import OutputFolder, only_writer
from firsthand.corpora.python_text import package_documentation, python_text
from firsthand.corpora.quantiles import QuantileSketch
from firsthand.corpora.quotas import Quotas, find_quotas
from firsthand.corpora.threshold import Chunk, Threshold, find_threshold, threshold_for
from firsthand.corpora.writing import DocumentWriter, ShardWriter, open_writer

__all__ = [
    "Batch",
    "Chunk",
    "Corpus",
    "Document",
    "DocumentWriter",
    "InputFile",
    "Layout",
    "NearDuplicateWarning",
    "NearDuplicates",
    "OutputFolder",
    "QuantileSketch",
    "Quotas",
    "ShardWriter",
    "Taken",
    "Threshold",
    "UniqueIds",
    "boilerplate",
    "character_noise",
    "find_inputs",
    "find_near_duplicates",
    "find_quotas",
    "find_threshold",
    "hex_dump",
    "mixture",
    "number_table",
    "only_writer",
    "open_writer",
    "package_documentation",
    "python_text",
    "read_batches",
    "read_documents",
    "seeded_order",
    "threshold_for",
    "warn_near_duplicates",
    "word_shuffle",
]
