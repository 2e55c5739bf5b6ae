"""A folder of DICOM as a lake of its own that goes again: the same road as a delivery, under a key of its own.

What belongs here: making that lake, and which file each of its instances came from. What does not: what is done with it
(training.predict). RESTRICTED: the paths lead to patients' files; nothing of them may be written on the de-identified side.
"""

from __future__ import annotations

import hmac
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from curation import catalog
from curation.deid.pseudonyms import Pseudonyms
from curation.delivery import Curated, code_version, curate, register
from curation.lake import Lake
from curation.records import ConfigurationError
from curation.settings import Settings, load_key, load_settings, open_home
from curation.site import Site, add_site, find_site, load_sites
from curation.steps import Stamp, digest_of_file, make_context

NAME = "scratch"


@dataclass(frozen=True)
class Scratch:
    """The lake, what became of the folder, and the file of every source digest."""

    lake: Lake
    curated: Curated
    files: Mapping[bytes, Path]


@contextmanager
def scratch_lake(
    settings: Settings,
    src: Path,
    site: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[Scratch]:
    """SRC as `settings` would take it in: the site's own profile and device regions, this home's limits.

    Everything lies in a private temporary folder that is deleted in the end, whatever happens. Raises ConfigurationError
    where SRC is no folder or DICOM file, or the site is not known.
    """
    if not src.exists():
        raise ConfigurationError(f"Nothing lies at {src}. Give a DICOM file or a folder of them.")
    known = find_site(settings.places, site) if site else Site(name=NAME, profile=settings.profile)
    with tempfile.TemporaryDirectory(prefix="rwid-scratch-") as folder:
        limits = settings.model_dump(
            include={"workers", "file_deadline_s", "worker_memory_mib", "max_file_mib", "profile"}
        )
        secret = Path(folder) / "key"
        secret.touch(mode=0o600)
        # derived, so that the same folder is walked in the same order; nothing under it is linked to the home's own lake
        secret.write_text(hmac.digest(load_key(settings), b"rwid scratch lake", "sha256").hex())
        home = Path(folder) / "home"
        own = load_settings(home).model_copy(
            update={**limits, "key_file": secret, "key_command": "", "verify_sample": 0}
        )
        places = open_home(own)
        add_site(places, known.model_copy(update={"name": NAME}), replace=True)
        register(own, src, NAME, NAME)
        curated = curate(own, NAME, progress)
        key = load_key(own)
        lake = Lake(places.lake)
        catalog.publish(lake, {NAME: curated.part_list}, load_sites(places), Pseudonyms(key).split_bucket)
        yield Scratch(lake, curated, _files(src, key, own))


def _files(src: Path, key: bytes, settings: Settings) -> dict[bytes, Path]:
    """Every file under SRC by the digest that its instance carries; of two with the same bytes the first by name."""
    context = make_context(
        key, settings.profile, Stamp(NAME, NAME, code_version()), settings.max_file_mib << 20
    )
    paths = [src] if src.is_file() else sorted(p for p in src.rglob("*") if p.is_file())
    found: dict[bytes, Path] = {}
    for path in paths:
        if path.stat().st_size:
            found.setdefault(digest_of_file(context, path), path)
    return found
