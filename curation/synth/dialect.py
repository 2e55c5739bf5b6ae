"""A site's dialect and a profile's sizes: what `dialects/*.toml` and `profiles.toml` hold.

What belongs here: reading those files into frozen dataclasses. What does not: using them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from curation.records import ConfigurationError

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Device:
    """One kind of equipment at a site; fields that a kind does not have keep their default."""

    manufacturer: str
    model: str
    station: str
    transfer_syntax: str
    description: str
    private_creator: str
    noise: float
    series: str | Mapping[str, str] = ""
    sop: str = ""
    photometric: str = "MONOCHROME2"
    bits: int = 12
    resolution: float = 1.0
    contrast: float = 1.0
    window_habit: float = 1.0
    kernel: str = ""
    spacing_mm: float = 5.0
    thickness_mm: float = 5.0
    window: tuple[float, float] = (-600.0, 1500.0)
    axial: str = ""
    localizer: str = ""
    reformat: str = ""
    dose: str = ""
    contrast_agent: str = ""
    field_T: float = 1.5  # noqa: N815 - tesla is written T
    color: bool = False
    signed: bool = False
    burned_in: str = ""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one site writes: header habits, character set, paths, packing, prevalences, devices."""

    name: str
    order: int
    title: str
    country: str
    continent: str
    time_zone: str
    language: str
    character_set: str
    accents: Mapping[str, str]
    ideographs: bool
    name_order: str
    patient_id: str
    accession: str
    phone: str
    date_format: str
    states_age: bool
    states_body_part: bool
    path: str
    extension: str
    packing: str
    packed_share: float
    report_format: str
    label_columns: bool
    unlinked_report: bool
    prevalence: Mapping[str, float]
    radiograph: Device
    ct: Device
    mr: Device
    us: Device


@dataclass(frozen=True, slots=True)
class Profile:
    """Sizes of one profile. Images are square but for ultrasound; `mix` says how often each kind of study comes."""

    name: str
    ct_px: int
    ct_slices: int
    radiograph_px: int
    mr_px: int
    mr_slices: int
    us_px: tuple[int, int]
    us_frames: int
    mix: tuple[str, ...]
    follow_up_share: float
    reformat_share: float


def _load(path: Path) -> Dialect:
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    for kind in ("radiograph", "ct", "mr", "us"):
        device = raw[kind]
        if "window" in device:
            device["window"] = tuple(float(v) for v in device["window"])
        raw[kind] = Device(**device)
    return Dialect(name=path.stem, **raw)


def load_dialects() -> tuple[Dialect, ...]:
    """All dialects in their `order`."""
    return tuple(
        sorted((_load(p) for p in sorted((_FOLDER / "dialects").glob("*.toml"))), key=lambda d: d.order)
    )


def load_profile(name: str) -> Profile:
    """The sizes of a profile. Raises ConfigurationError where there is none of that name."""
    profiles = tomllib.loads((_FOLDER / "profiles.toml").read_text(encoding="utf-8"))
    if name not in profiles:
        raise ConfigurationError(f"There is no synth profile {name!r}. Use one of: {', '.join(profiles)}.")
    raw = profiles[name]
    raw["us_px"] = tuple(raw["us_px"])
    raw["mix"] = tuple(raw["mix"])
    return Profile(name=name, **raw)


SITES: tuple[str, ...] = tuple(d.name for d in load_dialects())
"""Names of the fictional sites, in the order in which `--sites K` takes them."""
