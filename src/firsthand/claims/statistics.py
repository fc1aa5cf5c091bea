"""Statistics of one arm's items that are not means: AUC, rank correlation, slope, quantile.

Each takes the values and the second coordinates of one arm's items, both of shape (n,), and returns a
number. A check may add its own under a name in its `STATISTICS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from firsthand.claims.intervals import UndecidedError
from firsthand.claims.model import quantile_share
from firsthand.errors import CheckError

__all__ = ["Statistic", "find_statistic"]

Floats = NDArray[np.float64]
Statistic = Callable[[Floats, Floats], float]


def _mean(values: Floats, _: Floats) -> float:
    return float(values.mean())


def _auc(values: Floats, labels: Floats) -> float:
    """P(value of a positive > value of a negative), ties half; `labels` are 1 and 0."""
    from scipy.stats import rankdata

    if not np.isin(labels, (0.0, 1.0)).all():
        raise UndecidedError("an AUC needs a label x of 0 or 1 on every item")
    positive = labels == 1
    count = int(positive.sum())
    if count in (0, len(labels)):
        raise UndecidedError("an AUC needs items of both labels")
    ranks = rankdata(values)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(labels) - count)))


def _spearman(values: Floats, x: Floats) -> float:
    from scipy.stats import rankdata

    _need_spread("a rank correlation", x)
    if np.ptp(values) == 0:
        raise UndecidedError("a rank correlation is not defined: all values are equal")
    return float(np.corrcoef(rankdata(values), rankdata(x))[0, 1])


def _slope(values: Floats, x: Floats) -> float:
    _need_spread("a slope", x)
    centred = x - x.mean()
    return float(centred @ values / (centred @ centred))


def _need_spread(what: str, x: Floats) -> None:
    if np.isnan(x).any():
        raise UndecidedError(f"{what} needs a second coordinate x on every item")
    if np.ptp(x) == 0:
        raise UndecidedError(f"{what} is not defined: all items have the same x")


NAMED: dict[str, Statistic] = {
    "mean": _mean,
    "proportion": _mean,
    "auc": _auc,
    "spearman": _spearman,
    "slope": _slope,
}


def find_statistic(name: str, own: Mapping[str, Statistic] | None = None) -> Statistic:
    """The statistic called `name`: one of the check's `own`, a named one, or "quantile:Q".

    A statistic raises `UndecidedError` where the items do not define it.
    """
    if own and name in own:
        return own[name]
    if name in NAMED:
        return NAMED[name]
    if name.startswith("quantile:"):
        try:
            share = quantile_share(name)
        except ValueError as error:
            raise CheckError(str(error)) from error
        return lambda values, _: float(np.quantile(values, share))
    known = ", ".join([*NAMED, "quantile:Q", *(own or {})])
    raise CheckError(f"unknown statistic {name!r}; known: {known}")
