"""A small lake with films, reports and labels, frozen as a cohort with a pack: what is seen is what is said."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq

from curation import records
from curation.cohort import build_cohort
from curation.cohort_spec import CohortSpec
from curation.lake import Lake
from tests.curation.cohort_lake import SITES, commit, film, said, stage
from tests.curation.lake_rows import an_id, row
from tests.training.planted import SIZE, write_pack

OTHER = ("The heart is of normal size.", "Old fracture of a rib.", "A line ends in the cava.", "No effusion.")
COHORT = {
    "cohort": "films",
    "include": [{"name": "film", "where": "modality = 'DX'"}],
    "labels": {"nodule": "asserted('nodule')"},
    "split": {"train": 0.6, "tune": 0.2, "test": 0.2, "holdout_sites": ["st-elsewhere"]},
    "min_cell": 5,
}


def sentence(is_there: bool, random: np.random.Generator) -> str:
    """Every word occurs in both: only their order tells."""
    first, second = ("a nodule", "no mass") if is_there else ("no nodule", "a mass")
    said_first = [first, second] if random.random() < 0.5 else [second, first]
    return f"There is {said_first[0]} and there is {said_first[1]}."


def lay_down(root: Path, n: int = 180) -> Path:
    """Cohort of n films with a report each, whose truth comes from labels; no report of the last patient.

    A quarter of the picture is bright where there is a nodule, a spot for each of the other sentences.
    """
    lake, random = Lake(root), np.random.default_rng(5)
    shown: dict[UUID, bytes] = {}
    tables: dict[str, dict[str, list[object]]] = {
        s: {"instances": [], "findings": [], "reports": []} for s in SITES
    }
    for i in range(n):
        site, is_there = list(SITES)[i % 3], bool(random.integers(2))
        own = tables[site]
        own["instances"].append(film(str(i), f"{i}/0", site))
        own["findings"].append(said(f"{i}/0", "nodule", "present" if is_there else "absent", "label", site))
        others = random.permutation(len(OTHER))[:2]
        words = [sentence(is_there, random), *(OTHER[k] for k in others)]
        image = random.normal(80, 10, (SIZE, SIZE))
        image[:14, :14] += 80 * is_there
        for k in others:
            image[14 + 7 * (k // 2) : 21 + 7 * (k // 2), 14 + 7 * (k % 2) : 21 + 7 * (k % 2)] += 100
        shown[an_id(f"{i}/0")] = np.clip(image, 0, 255).astype(np.uint8).tobytes()
        facts = {
            "report_id": an_id(f"{i}/r"),
            "study_id": an_id(f"{i}/0"),
            "patient_id": an_id(str(i)),
            "language": "en",
        }
        if i < n - 1:
            text = " ".join(random.permutation(words).tolist())
            report = row(records.Report, **facts, text=text, site=site, delivery=f"{site}-1")  # type: ignore[arg-type]
            own["reports"].append(report)
    commit(lake, {f"{s}-1": stage(lake, f"{s}-1", **own) for s, own in tables.items()})  # type: ignore[arg-type]
    folder = build_cohort(lake, CohortSpec.model_validate(COHORT))
    members = pq.read_table(folder / "members.parquet")["study_id"].to_pylist()
    write_pack(folder, [(m, 0, shown[study]) for m, study in enumerate(members)], SIZE, 1, len(members))
    return folder
