"""What a series is and what its numbers mean: kind, body part, maker, display windows, and the stack in physical units.

What belongs here: compiling the rules of `modalities/*.toml` (kinds, windows) and of `modalities/tables/` (body parts,
makers), and putting decoded frames in order and in units. What does not: decoding frames (frames), folding instances
into series (catalog), the rules themselves (data).
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.records import ConfigurationError

_FOLDER = Path(__file__).with_name("modalities")

KIND_COLUMNS: Mapping[str, str] = {
    "modality": "VARCHAR",
    "sop_class": "VARCHAR",
    "image_type": "VARCHAR[]",
    "series_description": "VARCHAR",
    "protocol_name": "VARCHAR",
    "view": "VARCHAR",
    "orientation": "VARCHAR",
    "contrast": "BOOLEAN",
    "scanning_sequence": "VARCHAR[]",
    "echo_time_ms": "DOUBLE",
    "repetition_time_ms": "DOUBLE",
    "inversion_time_ms": "DOUBLE",
    "b_value": "DOUBLE",
    "n_instances": "INTEGER",
    "n_frames": "INTEGER",
    "n_positions": "INTEGER",
    "n_distinct_orientations": "INTEGER",
    "samples_per_pixel": "INTEGER",
}
"""Columns of the aggregated series row that kind rules may use, with their DuckDB types; each may be NULL."""

AIR_HU = -1024.0

_STROKES = str.maketrans(
    {"Ł": "L", "Ø": "O", "Đ": "D", "Æ": "AE", "Œ": "OE"}
)  # letters NFKD does not take apart

_WORDS = (
    "(' ' || regexp_replace(replace(upper(strip_accents(concat_ws(' ', series_description, protocol_name))), "
    "'T2*', 'T2STAR '), '[^\\p{L}\\p{N}]+', ' ', 'g') || ' ')"
)
_TYPES = (
    "(' ' || regexp_replace(upper(coalesce(array_to_string(image_type, ' '), '')), "
    "'[^\\p{L}\\p{N}]+', ' ', 'g') || ' ')"
)


class Unreadable(ValueError):  # noqa: N818 - the field's word for such data
    """A series that cannot be put together as one stack, with the reason in words and no identity.

    `reason` is the same in one word, of the list pack_recipe.LEFT_OUT.
    """

    def __init__(self, words: str, reason: str) -> None:
        super().__init__(words)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class KindRule:
    """One rule: series of `modalities` for which the SQL predicate `where` holds are of this kind."""

    modalities: tuple[str, ...]
    kind: str
    title: str
    where: str


@dataclass(frozen=True, slots=True)
class Window:
    """Which values are shown from black to white: by fixed values, by percentiles, by the header or by the full range.

    `low` and `high` are in the unit of the modality (HU for CT), or percentiles where `source` is 'percentile'.
    """

    name: str
    source: str  # fixed | percentile | header | full_range
    low: float
    high: float

    def limits(
        self, values: NDArray[Any], center_width: tuple[float, float] | None = None, bits: int = 8
    ) -> tuple[float, float]:
        """Lowest and highest value shown of one image, low < high.

        `center_width` is the device's proposal, in the units of `values`; without it a header window falls back on
        percentiles 0.5 to 99.5. `bits` is the number of stored bits, for the full range.
        """
        if self.source == "fixed":
            return self.low, self.high
        if self.source == "full_range":
            return 0.0, float(2**bits - 1)
        if self.source == "header" and center_width is not None and center_width[1] >= 1:
            center, width = center_width  # linear function of PS3.3 C.11.2.1.2.1
            return center - 0.5 - (width - 1) / 2, center - 0.5 + max(width - 1, 1) / 2
        percentiles = (self.low, self.high) if self.source == "percentile" else (0.5, 99.5)
        low, high = (float(p) for p in np.percentile(values, percentiles))
        return (low, high) if high > low else (low, low + 1.0)


@dataclass(frozen=True, slots=True)
class _WindowRule:
    modalities: tuple[str, ...]
    kinds: tuple[str, ...]
    body_parts: tuple[str, ...]
    window: Window


@dataclass(frozen=True, slots=True)
class _Rules:
    kinds: tuple[KindRule, ...]
    windows: tuple[_WindowRule, ...]
    units: Mapping[str, str]


@cache  # the rules are package data: they do not change while a process lives, and every instance asks for them
def _load_rules() -> _Rules:
    kinds: list[KindRule] = []
    windows: list[_WindowRule] = []
    units: dict[str, str] = {}
    for path in sorted(_FOLDER.glob("*.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        modalities = tuple(table["modalities"])
        if claimed := set(modalities) & set(units):
            raise ConfigurationError(
                f"{path.name}: modalities {sorted(claimed)} are in another file; name each once."
            )
        units |= dict.fromkeys(modalities, table["unit"])
        kinds += [KindRule(modalities, k["kind"], k["title"], k["where"]) for k in table["kinds"]]
        windows += [
            _WindowRule(modalities, tuple(w.get("kinds", ())), tuple(w.get("body_parts", ())), _window(w))
            for w in table["windows"]
        ]
    return _Rules(tuple(kinds), tuple(windows), units)


def _window(table: Mapping[str, Any]) -> Window:
    if table.get("from_header"):
        return Window(table["name"], "header", 0.0, 0.0)
    if table.get("full_range"):
        return Window(table["name"], "full_range", 0.0, 0.0)
    if "low_percentile" in table:
        return Window(table["name"], "percentile", table["low_percentile"], table["high_percentile"])
    return Window(table["name"], "fixed", table["low"], table["high"])


def kind_rules() -> tuple[KindRule, ...]:
    """All kind rules in the order in which they are tried."""
    return _load_rules().kinds


def kind_sql() -> str:
    """One SQL expression, the kind of an aggregated series row with KIND_COLUMNS; 'other' where no rule fits.

    A lambda binds words and image type once: as plain text in every rule they would be planned and computed again.
    """
    files: dict[tuple[str, ...], list[str]] = {}
    for rule in kind_rules():
        where = rule.where.replace("{words}", "row.words").replace("{types}", "row.types")
        files.setdefault(rule.modalities, []).append(f"WHEN {where} THEN '{rule.kind}'")
    branches = []
    for modalities, whens in files.items():
        names = ", ".join(f"'{m}'" for m in modalities)
        branches.append(f"WHEN modality IN ({names}) THEN CASE {' '.join(whens)} ELSE 'other' END")
    cases = f"CASE {' '.join(branches)} ELSE 'other' END"
    return f"list_transform([struct_pack(words := {_WORDS}, types := {_TYPES})], lambda row: {cases})[1]"


def orientation_sql(column: str = "image_orientation") -> str:
    """SQL for the plane of an image: axial, coronal, sagittal or oblique; NULL where six cosines are not stated.

    The normal is row x column; a plane is named where one component of the normal is at least 0.8 (37 degrees, so
    that a tilted gantry stays axial).
    """
    r, c = ([f"{column}[{i}]" for i in numbers] for numbers in ((1, 2, 3), (4, 5, 6)))
    normal = [f"abs({r[i]}*{c[j]} - {r[j]}*{c[i]})" for i, j in ((1, 2), (2, 0), (0, 1))]
    planes = " ".join(
        f"WHEN {n} >= 0.8 THEN '{p}'" for n, p in zip(normal, ("sagittal", "coronal", "axial"), strict=True)
    )
    return f"CASE WHEN {column} IS NULL OR len({column}) <> 6 THEN NULL {planes} ELSE 'oblique' END"


def windows_of(modality: str, kind: str | None = None, body_part: str | None = None) -> tuple[Window, ...]:
    """Windows that a viewer offers, the default first, each name once.

    A modality without windows gets percentiles 0.5 to 99.5.
    """
    found: dict[str, Window] = {}
    general: dict[str, Window] = {}
    for rule in _load_rules().windows:
        if modality not in rule.modalities or (rule.kinds and kind not in rule.kinds):
            continue
        if rule.body_parts and body_part not in rule.body_parts:
            continue
        target = found if rule.kinds or rule.body_parts else general
        target.setdefault(rule.window.name, rule.window)
    windows = (
        {**general, **found}
        if not found
        else {**found, **{k: v for k, v in general.items() if k not in found}}
    )
    return tuple(windows.values()) or (Window("percentiles", "percentile", 0.5, 99.5),)


def window_for(modality: str, kind: str | None = None, body_part: str | None = None) -> Window:
    """The default window of a series."""
    return windows_of(modality, kind, body_part)[0]


def window_named(name: str, modality: str) -> Window | None:
    """The window of that name of a modality, whatever the body part; None where it has none."""
    rules = _load_rules().windows
    return next((r.window for r in rules if r.window.name == name and modality in r.modalities), None)


def fixed_windows() -> dict[tuple[float, float], str]:
    """Names of all windows with fixed values, by (black, white)."""
    windows = (rule.window for rule in _load_rules().windows)
    return {(w.low, w.high): w.name for w in windows if w.source == "fixed"}


def window_names() -> tuple[str, ...]:
    """All names of windows, of any modality, sorted."""
    return tuple(sorted({rule.window.name for rule in _load_rules().windows}))


def _normal_words(text: str) -> str:
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(re.findall(r"[^\W_]+", plain.upper().translate(_STROKES)))


@cache  # package data, as above
def _body_parts() -> tuple[dict[str, re.Pattern[str]], dict[frozenset[str], str]]:
    table = tomllib.loads((_FOLDER / "tables" / "body_part.toml").read_text(encoding="utf-8"))
    patterns = {u["name"]: _phrases([u["name"], *u["words"]]) for u in table["unions"]}
    patterns |= {p["name"]: _phrases([p["name"], *p["words"]]) for p in table["parts"]}
    unions = {frozenset(u["parts"]): str(u["name"]) for u in table["unions"]}
    return patterns, unions


def _phrases(words: Sequence[str]) -> re.Pattern[str]:
    forms = []
    for word in words:
        phrase = re.escape(_normal_words(word.removesuffix("*")))
        is_unspaced = any(c >= "\u2e80" for c in word)
        forms.append(
            phrase if is_unspaced else rf"(?<!\w){phrase}" + ("" if word.endswith("*") else r"(?!\w)")
        )
    return re.compile("|".join(forms))


def body_part_of(body_part_examined: str | None, *words: str | None) -> str | None:
    """The standard term (PS3.16 annex L, such as CHEST, BRAIN, ABDOMENPELVIS) of a body part examined, else of words.

    Words are protocol, series and study descriptions, tried in the order given. None where nothing is recognised.
    """
    for text in (body_part_examined, *words):
        if text and (part := _find_part(_normal_words(text))):
            return part
    return None


@cache  # a hospital has a few thousand protocol names; every instance asks
def _find_part(text: str) -> str | None:
    patterns, unions = _body_parts()
    if text in patterns:
        return text
    found = [name for name, pattern in patterns.items() if pattern.search(text)]
    if named := [name for name in found if name in unions.values()]:
        return named[0]
    return unions.get(frozenset(found)) or (found[0] if found else None)


@cache  # package data, as above
def _makers() -> tuple[tuple[str, re.Pattern[str]], ...]:
    table = tomllib.loads((_FOLDER / "tables" / "manufacturer.toml").read_text(encoding="utf-8"))
    return tuple((m["name"], _phrases([m["name"], *m["words"]])) for m in table["makers"])


def maker_of(manufacturer: str | None) -> str | None:
    """One spelling a maker, upper case; an unknown maker keeps its own words in upper case. None where empty."""
    text = _normal_words(manufacturer or "")
    if not text:
        return None
    return next((name for name, pattern in _makers() if pattern.search(text)), text)


@dataclass(frozen=True, slots=True)
class Plane:
    """Where one frame lies and what its stored values mean; the columns of `instances` that a stack needs."""

    modality: str = ""
    image_position: Sequence[float] | None = None
    image_orientation: Sequence[float] | None = None
    pixel_spacing_row_mm: float | None = None
    pixel_spacing_column_mm: float | None = None
    slice_thickness_mm: float | None = None
    spacing_between_slices_mm: float | None = None
    rescale_slope: float | None = None
    rescale_intercept: float | None = None
    photometric: str | None = None
    instance_number: int | None = None


@dataclass(frozen=True, slots=True)
class SeriesArray:
    """A series as one array.

    `values` is float32 [slices, rows, columns], slice 0 lowest along the normal; `unit` is HU for CT with a rescale,
    else the modality's; `spacing_mm` is (between slices, between rows, between columns), None where not stated;
    `order[i]` is the index of slice i among the frames given; MONOCHROME1 is flagged, never inverted here.
    """

    values: NDArray[np.float32]
    unit: str
    spacing_mm: tuple[float | None, float | None, float | None]
    order: tuple[int, ...]
    is_monochrome1: bool


def unit_of(modality: str) -> str:
    """What rescaled values of a modality are in, such as HU; empty where they have no unit of their own."""
    return _load_rules().units.get(modality, "")


def to_units(frame: NDArray[Any], plane: Plane) -> NDArray[np.float32]:
    """Stored values times slope plus intercept (PS3.3 C.11.1.1.2), float32.

    Hounsfield units end at air, -1024: what lies below is the padding around a round field of view, and a model would
    learn the device from it.
    """
    slope = 1.0 if plane.rescale_slope is None else plane.rescale_slope
    intercept = plane.rescale_intercept or 0.0
    values = frame.astype(np.float64) * slope + intercept
    if plane.rescale_slope is not None and _load_rules().units.get(plane.modality) == "HU":
        values = np.maximum(values, AIR_HU)
    return values.astype(np.float32)


def series_array(frames: Sequence[NDArray[Any]], planes: Sequence[Plane]) -> SeriesArray:
    """The stack of grey frames of one series, one plane a frame, in physical order and units.

    Raises Unreadable where frames differ in shape, are colour, have several orientations, share a position, or lie
    unevenly: such a stack has no honest spacing.
    """
    if not frames or len(frames) != len(planes):
        raise Unreadable(
            f"{len(frames)} frames and {len(planes)} planes: one plane a frame is needed.", "no_frames"
        )
    if len({f.shape for f in frames}) > 1 or frames[0].ndim != 2:
        raise Unreadable("The frames are colour or differ in size: they are no one stack.", "mixed_size")
    order, spacing = slice_order(planes)
    first = planes[0]
    is_rescaled = all(p.rescale_slope is not None for p in planes)
    unit = _load_rules().units.get(first.modality, "") if is_rescaled else ""
    return SeriesArray(
        values=np.stack([to_units(frames[i], planes[i]) for i in order]),
        unit=unit,
        spacing_mm=(spacing, first.pixel_spacing_row_mm, first.pixel_spacing_column_mm),
        order=order,
        is_monochrome1=first.photometric == "MONOCHROME1",
    )


def slice_order(planes: Sequence[Plane]) -> tuple[tuple[int, ...], float | None]:
    """Indices of the planes from lowest to highest along the normal, and the distance of neighbours in mm.

    Without positions: by instance number, then as given, with the distance the device states. Raises Unreadable as
    `series_array` does; a position may be off an even grid by a tenth of the distance, as rounded headers are.
    """
    if len(planes) == 1 or any(not p.image_position or not p.image_orientation for p in planes):
        numbers = [p.instance_number if p.instance_number is not None else 0 for p in planes]
        stated = planes[0].spacing_between_slices_mm or planes[0].slice_thickness_mm
        return tuple(sorted(range(len(planes)), key=lambda i: (numbers[i], i))), stated
    cosines = np.array([p.image_orientation for p in planes], dtype=np.float64)
    if np.abs(cosines - cosines[0]).max() > 1e-2:
        raise Unreadable("The planes have more than one orientation.", "mixed_orientation")
    normal = np.cross(cosines[0, :3], cosines[0, 3:])
    distances = np.array([p.image_position for p in planes], dtype=np.float64) @ normal
    order = np.argsort(distances, kind="stable")
    along = distances[order]
    spacing = float(along[-1] - along[0]) / (len(planes) - 1)
    if spacing < 1e-3 or np.diff(along).min() < 0.1 * spacing:
        raise Unreadable("Two planes share one position.", "duplicate_position")
    if np.abs(along - (along[0] + spacing * np.arange(len(planes)))).max() > max(0.1 * spacing, 0.01):
        raise Unreadable(
            "The planes lie unevenly: a slice is missing, or two stacks are mixed.", "uneven_spacing"
        )
    return tuple(int(i) for i in order), spacing
