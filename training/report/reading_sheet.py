"""reading_sheet.csv: fifty judged studies for human readers, with blank columns and nothing that would lead them.

What belongs here: drawing the studies and writing the sheet. What does not: the label audit's list of suspects, which is not
blind. The sheet holds study and series ids, never a label, a score or a site.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from training.cells import JUDGED
from training.examples import Examples

CASES = 50
_BLANK = ("reader", "read_on", "image_quality_1_to_5", "comment")


def reading_sheet(examples: Examples, labels: Sequence[str], seed: int) -> str:
    """CSV with a row a study, in random order.

    Of the studies of `test` and `holdout` as many are drawn whose first label is positive as whose is not, as far as there are,
    at most one a patient: readers of a rare finding would else see none.
    """
    random = np.random.default_rng([seed, 50])
    order = random.permutation(np.flatnonzero(np.isin(examples.split, JUDGED)))
    _, first = np.unique(examples.patient[order], return_index=True)
    order = order[np.sort(first)]
    is_positive = (examples.labels[order] == 1)[:, :1].any(1)  # a task without labels has none
    half = CASES // 2
    chosen = np.concatenate([order[is_positive][:half], order[~is_positive][:half]])
    if len(chosen) < CASES:
        rest = order[~np.isin(order, chosen)]
        chosen = np.concatenate([chosen, rest[: CASES - len(chosen)]])
    sheet = io.StringIO()
    out = csv.writer(sheet, lineterminator="\n")
    out.writerow(("case", "study_id", "series_id", *(f"{label}_yes_no_unsure" for label in labels), *_BLANK))
    for number, i in enumerate(random.permutation(chosen), 1):
        out.writerow(
            (number, examples.study_id[i], examples.series_id[i], *([""] * (len(labels) + len(_BLANK))))
        )
    return sheet.getvalue()
