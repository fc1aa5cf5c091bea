"""Language models: load, score text, build tiny ones and train them on the spot.

Importing this package imports neither torch nor transformers: each function imports what it needs when
it is called, and says what to install where that is missing.
"""

from firsthand.lm.losses import DocumentLosses, document_losses, token_losses
from firsthand.lm.models import LanguageModel, load
from firsthand.lm.tiny import packed, parameters, tiny_llama, train_tokenizer
from firsthand.lm.training import DivergedError, TrainResult, train

__all__ = [
    "DivergedError",
    "DocumentLosses",
    "LanguageModel",
    "TrainResult",
    "document_losses",
    "load",
    "packed",
    "parameters",
    "tiny_llama",
    "token_losses",
    "train",
    "train_tokenizer",
]
