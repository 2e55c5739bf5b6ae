"""A frozen cohort laid down by hand, in the layout of curation.cohort and curation.pack, with or without a signal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.pack import PACK_VERSION
from curation.pack_file import LeftOut, write_left_out
from curation.records import Cohort, Member, to_table

SIZE = 28


def lay_down(
    lake: Path,
    *,
    n: int = 96,
    signal: float = 60.0,
    tiles: int = 1,
    name: str = "planted",
    n_classes: int = 2,
    seed: int = 0,
    holdout: bool = True,
    leak: bool = False,
    outcome: bool = False,
    measured: bool = False,
    needle: bool = False,
    size: int = SIZE,
    left_out: tuple[int, ...] = (),
    rare: float | None = None,
) -> Path:
    """n studies of n patients at three sites (the last one a holdout); a bright patch shows the label.

    With two classes label `opacity` and covariate `fibrosis`; with three, label `grade` holds the class number: nothing,
    a bright patch, a dark one. `outcome`: besides, `days` and `died`, six times as soon with the patch, and `age`, which says
    nothing of it. `measured`: label `dose` is 10 to 70 by how bright the patch is, `flat` always 1. `needle`: the
    patch is one of 7 px at any place, striped where the label is 1 and flat where it is 0, both as bright. `left_out`:
    members whose frames the pack could not read. `rare`: the share of label 1, instead of every other.
    """
    rng = np.random.default_rng(seed)
    cohort_id = hashlib.sha256(
        f"{name} {n} {signal} {tiles} {n_classes} {seed} {leak} {outcome} {size}{measured or ''}{needle or ''}{rare or ''}".encode()
    ).hexdigest()[:16]
    folder = lake / "cohorts" / cohort_id
    pack = folder / "packs" / "byhand"
    pack.mkdir(parents=True)
    members, rows = [], []
    for i in range(n):
        label = int(rng.integers(n_classes)) if rare is None else int(rng.random() < rare)
        site = ("northside", "southside", "st-elsewhere")[i % 3]
        split = ("train", "train", "train", "tune", "test")[(i // 3) % 5]
        if site == "st-elsewhere" and holdout:
            split = "holdout"
        patient = i if not leak else i // 2
        ids = [UUID(bytes=bytes([k]) + patient_or(i, patient, k).to_bytes(15, "big")) for k in range(4)]
        labels = [{"name": "opacity" if n_classes == 2 else "grade", "value": float(label)}]
        covariates = [{"name": "fibrosis", "value": float(rng.integers(2))}]
        shown = (0.0, signal, -signal)[label]
        if measured:
            dose = float(rng.uniform(10, 70))
            shown = signal * (dose - 10) / 60
            labels += [{"name": "dose", "value": dose}, {"name": "flat", "value": 1.0}]
        if outcome:
            days, lost = rng.exponential(400 / (1 + 5 * label)), rng.exponential(500)
            labels += [{"name": "days", "value": float(np.ceil(min(days, lost)))}]
            labels += [{"name": "died", "value": float(days <= lost)}]
            covariates += [{"name": "age", "value": float(rng.integers(40, 90))}]
        members.append(Member(cohort_id, ids[0], ids[1], ids[2], site, split, labels, covariates))
        for t in range(tiles):
            image = rng.normal(100, 20, (size, size))
            if needle:
                y, x = (int(v) * 7 for v in rng.integers(size // 7, size=2))
                stripes = np.where(np.arange(7) % 2, 1.0, -1.0) * label
                image[y : y + 7, x : x + 7] += signal * (1 + stripes)
            else:
                image[: size // 2, : size // 2] += shown
            if i in left_out:
                continue
            rows.append((i, t, np.clip(image, 0, 255).astype(np.uint8).tobytes()))
    facts = Cohort(cohort_id, name, "a test", 1, n, len({m.patient_id for m in members}), 3, 1)
    pq.write_table(to_table(Cohort, [facts]), folder / "cohort.parquet")
    pq.write_table(to_table(Member, members), folder / "members.parquet")
    facts_of = {"cohort_id": cohort_id, "name": name, "snapshot": 1, "min_cell": 5}
    (folder / "cohort.json").write_text(json.dumps(facts_of))
    missing = [LeftOut(i, members[i].series_id, "decoder_failed") for i in left_out]
    write_pack(folder, rows, size, tiles, n, missing)
    return folder


def write_pack(
    folder: Path,
    rows: list[tuple[int, int, bytes]],
    size: int,
    tiles: int,
    n: int,
    left_out: Sequence[LeftOut] = (),
) -> None:
    """A pack laid down by hand in a cohort's folder: (member, tile, pixels) in order."""
    pack = folder / "packs" / "byhand"
    pack.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "member_index": pa.array([r[0] for r in rows], pa.int32()),
            "tile_index": pa.array([r[1] for r in rows], pa.int32()),
            "tile": pa.array([r[2] for r in rows], pa.binary(size * size)),
            "window_low": pa.array([0.0] * len(rows), pa.float64()),
            "window_high": pa.array([255.0] * len(rows), pa.float64()),
        }
    )
    pq.write_table(table, pack / "tiles.parquet", row_group_size=64, compression="none", use_dictionary=False)
    recipe = {"size": size, "tiles_per_series": tiles, "text": False, "tokenizer": None}
    write_left_out(pack / "left_out.parquet", list(left_out))
    digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in pack.glob("*.parquet")}
    about = {"pack_version": PACK_VERSION, "cohort_id": folder.name, "recipe": recipe, "n_members": n}
    (pack / "pack.json").write_text(json.dumps({**about, "files": digests}))


def patient_or(i: int, patient: int, k: int) -> int:
    return patient if k == 2 else i


def tree(kind: str = "cut", /, **over: object) -> dict[str, object]:
    """A TuneSpec as a mapping: the random tiny backbone, one thread, no clock in the way."""
    spec: dict[str, object] = {
        "name": "planted",
        "cohort": "planted",
        "model": {"id": "builtin:tiny-vit", "input": {"size": SIZE}},
        "task": {"kind": "multilabel", "labels": ["opacity"], "covariates": ["fibrosis"]},
        "method": {"kind": kind, "blocks": 1, "batch_size": 8},
        "budget": {"max_minutes": 5, "max_epochs": 6, "patience": 6},
        "compute": {"device": "cpu", "threads": 1},
        "report": {"subgroups": ["site"], "bootstrap": 100, "min_cell": 5},
    }
    return {**spec, **over}
