"""PreSelect: keep the documents on which better models lose less (arXiv 2503.00808).

Measure the losses of a few models of known ability on a seed sample, call a document predictive as far as
its losses rank those models as the benchmark does, teach a fastText classifier which documents are, and keep
the top of the corpus by its score.
"""

from firsthand.corpora.threshold import Threshold, find_threshold, threshold_for
from firsthand.data.preselect.cloze import (
    ClozeItem,
    cloze_accuracy,
    cloze_items,
    cloze_log_probabilities,
    cloze_probability,
)
from firsthand.data.preselect.confidence import StrengthConfidence, strength_confidence
from firsthand.data.preselect.corpus import select_corpus
from firsthand.data.preselect.errors import EmptyClassError, SaturationWarning, ScorerVersionError
from firsthand.data.preselect.estimator import PreSelect
from firsthand.data.preselect.fasttext_scorer import FastTextScorer
from firsthand.data.preselect.hashed_scorer import HashedLinearScorer
from firsthand.data.preselect.holdout import HoldOutReport, holdout_report, train_scorer
from firsthand.data.preselect.labels import build_labels
from firsthand.data.preselect.losses import LossMatrix, measure_losses, read_losses, sliding_nll
from firsthand.data.preselect.sampling import SeedSample, sample_seed
from firsthand.data.preselect.scorers import load_scorer, make_scorer
from firsthand.data.preselect.scoring import score_corpus
from firsthand.data.preselect.selection import (
    Selection,
    lowest_loss_selection,
    positives_classifier,
    random_selection,
    select_by_score,
)
from firsthand.data.preselect.strength import (
    EstimatorComparison,
    LevelHistogram,
    PairAgreement,
    compare_estimators,
    level_histogram,
    predictive_strength,
)
from firsthand.data.preselect.text import NORMALISER_VERSION, bits_per_char, normalize_text

__all__ = [
    "NORMALISER_VERSION",
    "ClozeItem",
    "EmptyClassError",
    "EstimatorComparison",
    "FastTextScorer",
    "HashedLinearScorer",
    "HoldOutReport",
    "LevelHistogram",
    "LossMatrix",
    "PairAgreement",
    "PreSelect",
    "SaturationWarning",
    "ScorerVersionError",
    "SeedSample",
    "Selection",
    "StrengthConfidence",
    "Threshold",
    "bits_per_char",
    "build_labels",
    "cloze_accuracy",
    "cloze_items",
    "cloze_log_probabilities",
    "cloze_probability",
    "compare_estimators",
    "find_threshold",
    "holdout_report",
    "level_histogram",
    "load_scorer",
    "lowest_loss_selection",
    "make_scorer",
    "measure_losses",
    "normalize_text",
    "positives_classifier",
    "predictive_strength",
    "random_selection",
    "read_losses",
    "sample_seed",
    "score_corpus",
    "select_by_score",
    "select_corpus",
    "sliding_nll",
    "strength_confidence",
    "threshold_for",
    "train_scorer",
]
