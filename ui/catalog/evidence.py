"""What finished runs say of the three questions that tuning is for: comorbidity, sites never seen, outcomes.

What belongs here: reading their metrics and reports. What does not: computing (training.evaluate), drawing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd

from ui.catalog.opened import Opened

GAP_COLUMNS = ("run_id", "covariate", "split", "label", "quantity", "value", "low", "high", "n")
OVER_CLINICAL = "c_index_over_clinical"


class Evidence(Opened):
    """Queries of the page of evidence. A run that does not answer a question has no rows."""

    def comorbidity_gaps(self, run_ids: Sequence[str]) -> pd.DataFrame:
        """One row a run, covariate, split, label and quantity: AUROC without the covariate minus AUROC with it.

        quantity: untuned, tuned, or narrowing (untuned minus tuned, paired); n counts both strata.
        """
        rows = []
        for run_id in run_ids:
            report = self.text(self.run_file(run_id, "report.json"))
            for gap in (json.loads(report).get("tables") or {}).get("gaps", ()) if report else ():
                shared = {"run_id": run_id, **{k: gap[k] for k in ("covariate", "split", "label")}}
                shared["n"] = gap["n_without"] + gap["n_with"]
                found = {arm: gap[arm]["gap"] for arm in ("untuned", "tuned")} | {
                    "narrowing": gap["narrowing"]
                }
                rows += [{**shared, "quantity": name, **figure} for name, figure in found.items()]
        return pd.DataFrame(rows, columns=list(GAP_COLUMNS)).astype(
            dict.fromkeys(("value", "low", "high"), float)
        )

    def unseen_sites(self, run_ids: Sequence[str]) -> pd.DataFrame:
        """AUROC of every arm on the split `holdout`: one row a run, label, site and arm; site `all` is all of them."""
        return self._metrics(
            run_ids, "split = 'holdout' AND subgroup = 'all' AND name = 'auroc' AND value IS NOT NULL"
        )

    def outcomes(self, run_ids: Sequence[str]) -> pd.DataFrame:
        """Harrell's concordance of clinical variables alone (arm `untuned`), with the image (`tuned`), and the gain."""
        return self._metrics(run_ids, f"name = '{OVER_CLINICAL}' AND value IS NOT NULL")

    def _metrics(self, run_ids: Sequence[str], where: str) -> pd.DataFrame:
        files = [str(f) for i in run_ids if (f := self.run_file(i, "metrics.parquet")).is_file()]
        if not files:
            return pd.DataFrame(
                columns=["run_id", "split", "site", "label", "arm", "value", "low", "high", "n"]
            )
        return self.table(
            f"""SELECT run_id, split, site, label, arm, value, low, high, n FROM read_parquet(?) WHERE {where}
                ORDER BY run_id, split, label, site, arm""",
            [files],
        )
