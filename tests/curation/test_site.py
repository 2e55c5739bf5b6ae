"""Sites: shipped and the user's own; an unknown one says how to add it."""

from pathlib import Path

import pytest

from curation.records import ConfigurationError
from curation.settings import Places
from curation.site import Site, add_site, find_site, load_sites


def test_the_shipped_sites_are_all_valid(tmp_path: Path) -> None:
    sites = load_sites(Places(tmp_path))
    assert {"dev", "pydicom"} <= set(sites)


def test_an_unknown_site_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="rwid sites add nowhere"):
        find_site(Places(tmp_path), "nowhere")


def test_an_added_site_is_found_and_wins_over_the_shipped_one(tmp_path: Path) -> None:
    places = Places(tmp_path)
    add_site(places, Site(name="dev", country="DE", continent="Europe"), replace=True)
    assert find_site(places, "dev").country == "DE"


@pytest.mark.parametrize("name", ["../x", "A", "", "a b", "-x", "x" * 65])
def test_a_name_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        add_site(Places(tmp_path), Site(name=name))
    with pytest.raises(ConfigurationError):
        find_site(Places(tmp_path), name)


def test_a_wrong_key_in_a_site_is_named(tmp_path: Path) -> None:
    places = Places(tmp_path)
    places.sites.mkdir()
    (places.sites / "x.toml").write_text('contry = "DE"\n')
    with pytest.raises(ConfigurationError, match="contry"):
        load_sites(places)


def test_a_known_site_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--replace"):
        add_site(Places(tmp_path), Site(name="dev"))


@pytest.mark.parametrize("wrong", [{"country": "Germany"}, {"country": "de"}, {"continent": "Middle-earth"}])
def test_a_country_and_a_continent_are_those_of_the_world(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        add_site(Places(tmp_path), Site(name="st-mary", **wrong))
