"""How many labels flipped at random the label audit finds: 5 % of the labels of real chest X-rays, ten times.

    python -m benchmarks.tuning.bench_labels [--data ../shared/data/cxr] [--seeds 10] [--cache DIR] [--out FILE]

Frozen features (builtin:vits14, 112 px) and the product's own audit (training.audits): out-of-fold probabilities, confident
learning. Precision counts a suspect as right only where it was flipped here; the collections' own labels hold errors too (those
of one hospital were read out of reports by a program), so true precision is higher. Where `cleanlab` is installed, it judges the
same probabilities.
"""

from __future__ import annotations

import argparse
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.tuning import confounded
from training.audits.crossfit import out_of_fold
from training.audits.label_audit import suspects

RESULT = Path(__file__).parents[1] / "results" / "labels.json"
SHARE = 0.05


def main() -> None:
    """Flips, audits, writes medians over seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/cxr"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--cache", type=Path, default=Path("build/confounded"))
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    source = confounded.read_source(asked.data)
    features = confounded.features_of(source, asked.cache, "clean", confounded.ARTEFACTS["clean"])
    rows = [one_draw(source, features, seed) for seed in range(asked.seeds)]
    keys = [k for k in rows[0] if k != "seed"]
    result = {
        "command": f"python -m benchmarks.tuning.bench_labels --seeds {asked.seeds}",
        "images": f"{'real chest X-rays of two hospitals' if source.is_real else 'synthetic'}, n = {len(source.label)}",
        "flipped": SHARE,
        "median_and_range": {
            k: [round(float(f([r[k] for r in rows])), 3) for f in (np.median, np.min, np.max)] for k in keys
        },
        "machine": f"{os.cpu_count()} shared cores, load {os.getloadavg()[0]:.1f}",
        "draws": rows,
    }
    asked.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["median_and_range"], indent=1))


def one_draw(source: confounded.Source, features: NDArray[np.float32], seed: int) -> dict[str, Any]:
    """What the audit finds of one set of flips."""
    rng = np.random.default_rng([seed, 3])
    n = len(source.label)
    wrong = np.zeros(n, bool)
    wrong[rng.permutation(n)[: round(SHARE * n)]] = True
    given = np.where(wrong, 1 - source.label, source.label).astype(np.float64)
    share = out_of_fold(features, given[:, None], source.patient, seed)[:, 0]
    odd, doubt = suspects(given, share), np.abs(given - share)
    found = {
        "seed": seed,
        "suspects": int(odd.sum()),
        "precision": float((odd & wrong).sum() / max(odd.sum(), 1)),
        "recall": float((odd & wrong).sum() / wrong.sum()),
        "auroc": float(roc_auc_score(wrong, doubt)),
        "average_precision": float(average_precision_score(wrong, doubt)),
        "precision_at_k": float(wrong[np.argsort(-doubt)[: wrong.sum()]].mean()),
    }
    if find_spec("cleanlab"):
        from cleanlab.filter import find_label_issues

        theirs = find_label_issues(
            given.astype(int), np.stack([1 - share, share], 1), filter_by="prune_by_noise_rate", n_jobs=1
        )
        found |= {
            "cleanlab_precision": float((theirs & wrong).sum() / max(theirs.sum(), 1)),
            "cleanlab_recall": float((theirs & wrong).sum() / wrong.sum()),
        }
    return found


if __name__ == "__main__":
    main()
