"""What `load_dataset` reads from the folder is the cohort: its images bit by bit, its splits, its order, its labels."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from curation.cohort_folder import folder_aside
from curation.hf_folder import write_hf
from curation.pack import open_pack
from curation.records import ConfigurationError
from tests.training.planted import SIZE, lay_down

FACTS = {"name": "planted", "cohort_id": "c", "snapshot": 1, "spec": {"purpose": "A test."}}


@pytest.fixture(scope="module", params=[1, 3])
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, int]:
    folder = lay_down(tmp_path_factory.mktemp("lake"), n=75, tiles=request.param)
    dst = tmp_path_factory.mktemp("hf")
    write_hf(open_pack(folder / "packs" / "byhand"), FACTS, dst)
    return folder, dst, request.param


def test_load_dataset_reads_it(written: tuple[Path, Path, int], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra rwid[hf]")
    folder, dst, n_tiles = written
    splits = datasets.load_dataset(str(dst), cache_dir=str(tmp_path))
    members = pq.read_table(folder / "members.parquet").to_pylist()
    pack = open_pack(folder / "packs" / "byhand")
    tiles = np.concatenate([pack.tiles[g] for g in range(len(pack.tiles))]).reshape(75, n_tiles, SIZE, SIZE)
    assert set(splits) == {m["split"] for m in members}
    for split, rows in splits.items():
        own = [n for n, m in enumerate(members) if m["split"] == split]
        assert [r["series_id"] for r in rows] == [str(members[n]["series_id"]) for n in own]
        for number, row in zip(own, rows, strict=True):
            images = [row["image"]] if n_tiles == 1 else row["images"]
            assert (np.stack([np.asarray(i) for i in images]) == tiles[number]).all()
            assert row["opacity"] == members[number]["labels"][0]["value"]
            assert row["covariate_fibrosis"] == members[number]["covariates"][0]["value"]
            assert row["site"] == members[number]["site"]


def test_the_front_matter_names_every_file_and_rows_stay_in_groups(written: tuple[Path, Path, int]) -> None:
    _, dst, _ = written
    _, front, text = (dst / "README.md").read_text().split("---\n", 2)
    files = yaml.safe_load(front)["configs"][0]["data_files"]
    assert {f["path"] for f in files} == {str(p.relative_to(dst)) for p in dst.rglob("*.parquet")}
    assert "A test." in text and "load_dataset" in text
    schema = pq.read_schema(dst / "data" / "train.parquet")
    assert list(json.loads(schema.metadata[b"huggingface"])["info"]["features"]) == schema.names


def test_it_can_be_written_aside_and_put_in_place(written: tuple[Path, Path, int], tmp_path: Path) -> None:
    folder, dst, _ = written
    with folder_aside(tmp_path / "out") as aside:
        write_hf(open_pack(folder / "packs" / "byhand"), FACTS, aside)
    found = {
        p.relative_to(tmp_path / "out"): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()
    }
    assert found == {p.relative_to(dst): p.read_bytes() for p in dst.rglob("*") if p.is_file()}


def test_a_label_cannot_hide_a_column(tmp_path: Path) -> None:
    folder = lay_down(tmp_path / "lake", n=15)
    members = pq.read_table(folder / "members.parquet")
    labels = pa.array([[{"name": "site", "value": 1.0}]] * 15, members.schema.field("labels").type)
    place = members.schema.names.index("labels")
    pq.write_table(members.set_column(place, "labels", labels), folder / "members.parquet")
    with pytest.raises(ConfigurationError, match="called site"):
        write_hf(open_pack(folder / "packs" / "byhand"), FACTS, tmp_path)
