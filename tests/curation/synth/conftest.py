"""One small generated set of all eight sites, shared by the tests of the generator."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation.synth import SITES, Summary, generate

SEED = 11


@dataclass(frozen=True)
class Generated:
    root: Path
    summary: Summary
    key: list[dict[str, str]]
    truth: list[dict[str, object]]

    def files(self, site: str) -> Iterator[tuple[str, bytes]]:
        """(path or archive!member, bytes) of every file of a site, as the answer key names them."""
        for path in sorted(p for p in (self.root / site).rglob("*") if p.is_file()):
            name, data = str(path.relative_to(self.root)), path.read_bytes()
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    yield from ((f"{name}!{m}", archive.read(m)) for m in archive.namelist())
            elif path.suffix in (".tar", ".gz"):
                with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                    yield from ((f"{name}!{m.name}", tar.extractfile(m).read()) for m in tar)
            else:
                yield name, data

    def images(self) -> Iterator[tuple[str, bytes]]:
        """Whole DICOM files of all sites, each once."""
        for site in self.summary.sites:
            for name, data in self.files(site):
                if data[128:132] == b"DICM" and "/broken/" not in name and "/resent/" not in name:
                    yield name, data


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    root = tmp_path_factory.mktemp("synth") / "set"
    summary = generate(root, sites=len(SITES), patients=6 * len(SITES), seed=SEED, profile="tiny")
    key = pq.read_table(root / "answer_key.parquet").to_pylist()
    return Generated(root, summary, key, pq.read_table(root / "truth.parquet").to_pylist())
