"""Simulated chest CT as a frozen cohort: phantoms of people who do not exist, drawn by scanners that do not exist.

The phantoms are those of curation/synth, the grey levels those of curation.tile with the chest window; members and pack
have the layout of curation.cohort and curation.pack. Left out, to spare the CPU, is the way there: no DICOM is written,
ingested or queried (tests/assets and `make demo` walk it). What belongs here: persons, pictures and the layout. What
does not: what is asked of them (bench_comorbidity, bench_outcome).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import ndimage

from curation.modality import window_for
from curation.pack import PACK_VERSION, PackRecipe
from curation.records import Cohort, Member, to_table
from curation.synth.chance import stream
from curation.synth.people import Disease
from curation.synth.phantoms import ct
from curation.synth.phantoms.canvas import Grid, network, texture
from curation.synth.phantoms.thorax import make_thorax
from curation.tile import letterbox

RENDERED_PX = 192


@dataclass(frozen=True)
class Scanner:
    """How one simulated hospital's pictures look, and how many of its patients have what. Blur in rendered px."""

    site: str
    noise: float
    thickness_mm: float
    blur_px: float
    field_mm: float
    offset_hu: float
    prevalence: Mapping[str, float]


@dataclass(frozen=True)
class Study:
    """One person's one study. `values` holds labels and covariates by name."""

    site: str
    number: int
    split: str
    tile: np.ndarray
    values: Mapping[str, float]


def make_disease(
    rng: np.random.Generator, prevalence: Mapping[str, float], nodule_mm: tuple[float, float]
) -> Disease:
    """Disease of one person; each is there or not by its own draw, none tells of another."""
    draws = {name: bool(rng.random() < share) for name, share in prevalence.items()}
    severity = {name: float(rng.uniform(0.4, 1.0)) * draws[name] for name in ("emphysema", "fibrosis")}
    return Disease(
        nodule_mm=float(rng.uniform(*nodule_mm)) * draws["nodule"],
        nodule_contrast=float(rng.uniform(0.75, 1.0)),
        effusion=0.0,
        emphysema=severity["emphysema"],
        fibrosis=severity["fibrosis"],
        lesion_mm=0.0,
        mass_mm=0.0,
    )


def picture(seed: int, scanner: Scanner, number: int, disease: Disease, sex: str, size: int) -> np.ndarray:
    """The middle slice in the lung window, uint8 [size, size]: what curation.tile shows of such a series."""
    rng = stream(seed, scanner.site, number, "body")
    thorax = make_thorax(rng, disease, sex)
    grid = Grid(RENDERED_PX, RENDERED_PX, scanner.field_mm / RENDERED_PX)
    shape = (grid.rows, grid.columns)
    net = network(texture(rng, shape, max(1.0, 4.0 / grid.spacing_mm)))
    clean = ct.axial(thorax, grid, 0.0, net, scanner.thickness_mm) + scanner.offset_hu
    noisy = ndimage.gaussian_filter(clean, scanner.blur_px) + texture(rng, shape, 0.6) * (26 * scanner.noise)
    low, high = window_for("CT", "axial", "CHEST").limits(noisy)
    levels = (np.clip(noisy.astype(np.float64), low, high) - low) * (255.0 / (high - low))
    return letterbox(levels, size)[0]


def lay_down(lake: Path, name: str, studies: Sequence[Study], labels: Sequence[str]) -> Path:
    """The cohort folder: members, facts and a pack of one tile a series. Values that are no labels are covariates."""
    digest = hashlib.sha256(name.encode())
    for study in studies:
        digest.update(f"{study.site} {study.number} {study.split} {sorted(study.values.items())}".encode())
        digest.update(study.tile.tobytes())
    cohort_id = digest.hexdigest()[:16]
    folder = lake / "cohorts" / cohort_id
    if folder.is_dir():
        return folder
    pack = folder / "packs" / "simulated"
    pack.mkdir(parents=True)
    members = [_member(cohort_id, study, labels) for study in studies]
    n_sites = len({s.site for s in studies})
    facts = Cohort(cohort_id, name, "simulated", 1, len(members), len(members), n_sites, 1)
    pq.write_table(to_table(Cohort, [facts]), folder / "cohort.parquet")
    pq.write_table(to_table(Member, members), folder / "members.parquet")
    told = {"cohort_id": cohort_id, "name": name, "snapshot": 1, "min_cell": 11, "is_simulated": True}
    (folder / "cohort.json").write_text(json.dumps(told))
    size = studies[0].tile.shape[0]
    table = pa.table(
        {
            "member_index": pa.array(range(len(studies)), pa.int32()),
            "tile_index": pa.array([0] * len(studies), pa.int32()),
            "tile": pa.array([s.tile.tobytes() for s in studies], pa.binary(size * size)),
            "window_low": pa.array([0.0] * len(studies), pa.float64()),
            "window_high": pa.array([255.0] * len(studies), pa.float64()),
        }
    )
    pq.write_table(table, pack / "tiles.parquet", row_group_size=64, compression="none", use_dictionary=False)  # fmt: skip
    recipe = asdict(PackRecipe(size=size, tiles_per_series=1, text=False))
    tiles = hashlib.sha256((pack / "tiles.parquet").read_bytes()).hexdigest()
    about = {
        "pack_version": PACK_VERSION,
        "cohort_id": cohort_id,
        "recipe": recipe,
        "n_members": len(members),
    }
    (pack / "pack.json").write_text(json.dumps({**about, "files": {"tiles.parquet": tiles}}))
    return folder


def study_id(site: str, number: int) -> UUID:
    """The same person's study in every cohort."""
    return _uuid(site, number, "study")


def _member(cohort_id: str, study: Study, labels: Sequence[str]) -> Member:
    ids = [_uuid(study.site, study.number, kind) for kind in ("study", "series", "patient")]
    values = [{"name": name, "value": float(value)} for name, value in study.values.items()]
    return Member(
        cohort_id,
        ids[0],
        ids[1],
        ids[2],
        study.site,
        study.split,
        [v for v in values if v["name"] in labels],
        [v for v in values if v["name"] not in labels],
    )


def _uuid(site: str, number: int, kind: str) -> UUID:
    return UUID(bytes=hashlib.sha256(f"{site} {number} {kind}".encode()).digest()[:16])
