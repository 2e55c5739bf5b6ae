"""A site: who delivers. What a site is stands here; the sites themselves are `sites/*.toml`, shipped and the user's own.

Nothing of a delivery belongs here: how things arrive is source.py, what was delivered is delivery.py.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from curation.deid.regions import RegionRule, as_toml
from curation.records import ConfigurationError
from curation.settings import Places

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""What a site or a delivery may be called: it becomes a folder, a partition and a column value."""


class Site(BaseModel):
    """One hospital or imaging centre that delivers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str = ""
    country: str | None = None
    """ISO 3166-1 alpha-2."""
    continent: str | None = None
    profile: str | None = None
    """De-identification profile of this site; None: as the settings say."""
    burned_in: tuple[RegionRule, ...] = ()
    """Where this site's devices write into pictures: `[[burned_in]]` tables."""


def _read(name: str, text: str, where: str) -> Site:
    try:
        facts: dict[str, Any] = tomllib.loads(text)
        return Site(name=name, **facts)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where}: not valid TOML ({error}).") from None
    except ValidationError as error:
        keys = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
        raise ConfigurationError(
            f"{where}: wrong or unknown: {keys}. A site has title, country, continent, profile, [[burned_in]]."
        ) from None


def load_sites(places: Places) -> dict[str, Site]:
    """All sites by name: the shipped ones, overridden by the home's own `sites/*.toml`."""
    shipped = [
        entry
        for entry in resources.files("curation").joinpath("sites").iterdir()
        if entry.name.endswith(".toml")
    ]
    own = sorted(places.sites.glob("*.toml")) if places.sites.is_dir() else []
    sites = {}
    for entry in [*shipped, *own]:
        name = entry.name.removesuffix(".toml")
        sites[name] = _read(name, entry.read_text(encoding="utf-8"), f"sites/{entry.name}")
    return sites


def find_site(places: Places, name: str) -> Site:
    """The site of that name. Raises ConfigurationError that says how to add one."""
    sites = load_sites(places)
    if name in sites:
        return sites[name]
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            "A site's name has small letters, digits, '.', '_' and '-' only, 64 at most."
        )
    raise ConfigurationError(
        f"Site '{name}' is not known; known are {', '.join(sorted(sites))}. "
        f"To add it: rwid sites add {name} --country XX --continent NAME (writes {places.sites / (name + '.toml')})."
    )


CONTINENTS = ("Africa", "Antarctica", "Asia", "Europe", "North America", "Oceania", "South America")


def add_site(places: Places, site: Site, *, replace: bool = False) -> Path:
    """Writes the home's own `sites/<name>.toml`; returns its path.

    Raises ConfigurationError where the name, country or continent will not do, or the site is known and not to be replaced.
    """
    if not NAME.fullmatch(site.name):
        raise ConfigurationError(
            "A site's name has small letters, digits, '.', '_' and '-' only, 64 at most."
        )
    if site.name in load_sites(places) and not replace:
        raise ConfigurationError(f"Site '{site.name}' is known already; --replace overwrites it.")
    if site.country is not None and not re.fullmatch("[A-Z]{2}", site.country):
        raise ConfigurationError("A country is two capital letters of ISO 3166-1, such as GB.")
    if site.continent is not None and site.continent not in CONTINENTS:
        raise ConfigurationError(f"A continent is one of {', '.join(CONTINENTS)}.")
    kept = load_sites(places)[site.name].burned_in if site.name in load_sites(places) else ()
    return _write(places, site.model_copy(update={"burned_in": (*kept, *site.burned_in)}))


def add_regions(places: Places, name: str, rules: Sequence[RegionRule]) -> Path:
    """Adds `[[burned_in]]` tables to the home's own file of a site that is known; returns its path."""
    site = find_site(places, name)
    new = [rule for rule in rules if rule not in site.burned_in]
    return _write(places, site.model_copy(update={"burned_in": (*site.burned_in, *new)}))


def _write(places: Places, site: Site) -> Path:
    facts = site.model_dump(exclude={"name", "burned_in"}, exclude_none=True)
    for value in facts.values():
        if '"' in value or "\\" in value or not value.isprintable():
            raise ConfigurationError(
                "A site's title, country, continent and profile are plain words without quotes."
            )
    places.sites.mkdir(parents=True, exist_ok=True)
    path = places.sites / f"{site.name}.toml"
    text = "".join(f'{key} = "{value}"\n' for key, value in facts.items() if value)
    path.write_text(f"{text}\n{as_toml(site.burned_in)}" if site.burned_in else text, encoding="utf-8")
    return path
