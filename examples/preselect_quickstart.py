"""The README's example: predictive strength, then a scorer, on text that every Python installation has."""

import numpy as np

from firsthand.corpora import mixture, python_text
from firsthand.data.preselect import PreSelect, predictive_strength

# Three documents' losses under four models of known ability: which documents rank the models rightly?
ability = [41.0, 44.5, 47.2, 52.8]  # benchmark scores, higher is better
losses = np.array([[3.1, 2.9, 2.6, 2.2], [3.0, 3.0, 2.9, 2.8], [2.2, 2.6, 2.9, 3.1]])  # (documents, models)
print(predictive_strength(losses, ability))  # share of model pairs in the right order: [1. 0.833 0.]

# A pool of docstrings, function bodies and word salad; the better a model, the better it knows docstrings.
rng = np.random.default_rng(0)
texts = {kind: python_text(kind, packages=["stdlib"]).texts for kind in ("docstrings", "functions")}
shares = {"docstrings": 0.3, "functions": 0.4, "shuffled": 0.3}
pool = mixture(rng, 1_000, shares, texts, damage="docstrings")
knows = np.array([document.kind == "docstrings" for document in pool])
gains = np.outer(knows, [0.0, 0.3, 0.6, 0.9])
losses = rng.normal(3.0, 0.1, (1_000, 4)) - gains  # made up; firsthand.lm.document_losses measures yours

method = PreSelect(positives="quantile", bucket=20_000, epoch=25).fit([d.text for d in pool], losses, ability)
kept = method.select([d.text for d in pool], fraction=0.1, measure="chars").indices
print(f"{knows[kept].mean():.0%} of the selected tenth are docstrings, {knows.mean():.0%} of the pool")
