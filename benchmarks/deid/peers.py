"""The peers of the corpus benchmark, each in an environment of its own that this makes in a temporary folder.

What belongs here: making the environments, naming what cannot run here and why. What does not: how a peer is asked (peer_driver).
"""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.deid.corpus.answer_key import File
from benchmarks.deid.systems import Release, peer

DRIVER = Path(__file__).with_name("peer_driver.py")

PACKAGES: Mapping[str, str] = {
    "dicognito": "dicognito==0.19.0",
    "dicom_anonymizer": "dicom-anonymizer==2.1.0",
    "dicom_anonymizer_latest": "dicom-anonymizer==2.1.0",
    "deid": "deid==0.4.13",
    "dcm_anonymizer": "dcm-anonymizer==0.5.0",
    "dentdeid": "dentdeid==0.1.0",
    "pydcm_basic": "pydcm==0.5.0",
    "pydcm_options": "pydcm==0.5.0",
}
"""What each driver of peer_driver needs."""

NAMES = {
    "dicom_anonymizer_latest": "dicom-anonymizer, newest table it ships",
    "pydcm_basic": "pydcm, Basic",
    "pydcm_options": "pydcm, options nearest to research",
    "dentdeid": "dentdeid, research",
}
NEEDS_312 = {"pydcm_basic", "pydcm_options"}
"""Peers whose wheels want Python 3.12 or later."""


def peer_systems(folder: Path) -> dict[str, Callable[[Path, list[File], Path], Release]]:
    """Each peer by its name; one that cannot be installed here says so in place of figures."""
    made: dict[str, Path | None] = {}
    known = {}
    for name, package in PACKAGES.items():
        if package not in made:
            made[package] = make_environment(
                folder / "peers" / package.partition("==")[0], package, name in NEEDS_312
            )
        python = made[package]
        title = f"peer: {NAMES.get(name, name.replace('_', '-'))}"
        known[title] = peer(python, DRIVER, name) if python else not_here(package)
    return known


def not_here(package: str) -> Callable[[Path, list[File], Path], Release]:
    def run(corpus: Path, files: list[File], out: Path) -> Release:
        return Release(
            {},
            dict.fromkeys((f.file for f in files), "not run"),
            note=f"{package} could not be installed on this machine",
        )

    return run


def make_environment(folder: Path, package: str, needs_312: bool) -> Path | None:
    """The interpreter of an environment with the package, an earlier one where it is there; None where it cannot be had."""
    python = folder / "bin" / "python"
    if python.exists():
        return python
    if needs_312:
        newer = _newer_python()
        if newer is None:
            return None
        made = subprocess.run([newer, "-m", "venv", str(folder)], capture_output=True, check=False)
        if made.returncode:
            return None
    else:
        venv.create(folder, with_pip=True)
    installed = subprocess.run(
        [str(python), "-m", "pip", "install", "-q", package], capture_output=True, check=False
    )
    return None if installed.returncode else python


def _newer_python() -> str | None:
    """An interpreter of 3.12 or later: this one, one on PATH, or one of pyenv."""
    roots = sorted((Path.home() / ".pyenv" / "versions").glob("3.1[2-9].*/bin/python"))
    candidates = [sys.executable, "python3.12", "python3.13", *map(str, roots)]
    for candidate in candidates:
        try:
            said = subprocess.run(
                [candidate, "-c", "import sys; print(sys.version_info >= (3, 12))"],
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            continue
        if said.stdout.strip() == "True":
            return candidate
    return None
