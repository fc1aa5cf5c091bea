"""Tables whose AUCs are known: normal scores, shifted by what is planted for errors of each group."""

from __future__ import annotations

import numpy as np

from firsthand.evaluation.uncertainty.table import UncertaintyTable


def planted(*groups, seed=0, invalid=0):
    """Of each (subject, label, n, error rate, shift of errors) exactly n · rate errors, at shuffled places."""
    random = np.random.default_rng(seed)
    rows = []
    for subject, label, n, rate, shift in groups:
        wrong = random.permutation(n) < round(n * rate)
        for number in range(n):
            rows.append(
                {
                    "id": f"q{len(rows)}",
                    "choice": 0,
                    "valid": True,
                    "correct": not wrong[number],
                    "H_vocab": float(random.normal() + shift * wrong[number] + 8),
                    "subject": subject,
                    "label.steps": label,
                }
            )
    for _ in range(invalid):
        rows.append(
            {"id": f"q{len(rows)}", "choice": None, "valid": False, "correct": False, "H_vocab": 20.0,
             "subject": groups[0][0], "label.steps": groups[0][1]}
        )  # fmt: skip
    return UncertaintyTable.from_rows(rows)
