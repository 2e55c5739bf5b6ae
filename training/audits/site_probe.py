"""Can the site be read from what a model makes of the images? Encoding is not use: a high number alone condemns nothing.

What belongs here: one linear probe for the site, out of fold over patients, the same for frozen and tuned features. What
does not: whether scores lean on it (reliance). numpy and scikit-learn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.audit import Item
from training.audits.crossfit import folds_of, one_against_rest

MIN_PATIENTS = 10


def site_probe(
    what: str, features: NDArray[np.float32], site: NDArray[np.str_], patient: NDArray[np.int64], seed: int
) -> Item:
    """Balanced accuracy of the site from features [n, F] of studies that no model learned from."""
    name = f"site read from {what}"
    people = {s: len(set(patient[site == s].tolist())) for s in sorted(set(site.tolist()))}
    kept = [s for s, n in people.items() if n >= MIN_PATIENTS]
    if len(kept) < 2:
        text = f"fewer than two sites with {MIN_PATIENTS} patients on tune and test"
        return Item("shortcut", name, "not_applicable", None, text)
    here = np.isin(site, kept)
    truth = (site[here][:, None] == np.array(kept)).astype(np.float64)  # [n, sites]
    scores = one_against_rest(features[here], truth, folds_of(patient[here], seed))
    guess = scores.argmax(1)
    value = float(np.mean([(guess[truth[:, k] == 1] == k).mean() for k in range(len(kept))]))
    text = (
        f"balanced accuracy over {len(kept)} sites on {int(here.sum())} studies of tune and test, out of fold; chance is "
        f"{1 / len(kept):.2f}. Encoding is not use"
    )
    return Item("shortcut", name, "computed", value, text)
