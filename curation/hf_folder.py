"""A cohort as a folder that Hugging Face's `load_dataset(DIR)` reads: a Parquet file a split, images as PNG, a README.

What belongs here: rows, their features and the front matter. What does not: making tiles (pack), the other exports (export),
the same dataset for somebody with the lake (training.hugging_face). The package `datasets` is not needed to write it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from curation.pack import Pack
from curation.records import ConfigurationError

SPLITS = ("train", "tune", "test", "holdout")
IDS = ("study_id", "series_id", "patient_id")
_ROWS_A_GROUP = 64
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

Row = dict[str, Any]


def write_hf(pack: Pack, facts: Mapping[str, Any], dst: Path) -> None:
    """`data/<split>.parquet` and README.md: one row per member with pixels, in the cohort's order.

    Columns: `image` (or `images`, where a series has several), ids, site, a float a label (1, 0, -1 uncertain, null unknown),
    and a float a covariate, `covariate_<name>`. `pack` holds 8-bit grey tiles; `facts` are the cohort's. Raises
    ConfigurationError where a label has the name of another column.
    """
    members = pack.members.to_pylist()
    labels = _names(members, "labels")
    covariates = _names(members, "covariates")
    schema = _schema(labels, covariates, pack.tiles_per_series)
    (dst / "data").mkdir()
    waiting: dict[str, list[Row]] = {}
    writers: dict[str, pq.ParquetWriter] = {}
    for number, images in _images(pack):
        member = members[number]
        split = member["split"]
        if split not in writers:
            path = dst / "data" / f"{split}.parquet"
            writers[split], waiting[split] = pq.ParquetWriter(path, schema, compression="none"), []
        waiting[split].append(_row(member, images, labels, covariates))
        if len(waiting[split]) == _ROWS_A_GROUP:
            writers[split].write_table(pa.Table.from_pylist(waiting.pop(split), schema))
            waiting[split] = []
    for split, writer in writers.items():
        if waiting[split]:
            writer.write_table(pa.Table.from_pylist(waiting[split], schema))
        writer.close()
    (dst / "README.md").write_text(
        _readme(facts, [s for s in SPLITS if s in writers], schema), encoding="utf-8"
    )


def _images(pack: Pack) -> Iterator[tuple[int, list[bytes]]]:
    """Every member that has tiles, with them as PNG."""
    numbers = pack.tiles.facts["member_index"].to_pylist()
    row, found = 0, list[bytes]()
    for group in range(len(pack.tiles)):
        for tile in pack.tiles[group]:
            found.append(bytes(imagecodecs.png_encode(tile, level=6)))
            row += 1
            if len(found) == pack.tiles_per_series:
                yield numbers[row - 1], found
                found = []


def _row(member: Row, images: list[bytes], labels: list[str], covariates: list[str]) -> Row:
    shown = [{"bytes": png, "path": None} for png in images]
    said = {entry["name"]: entry["value"] for entry in member["labels"] or ()}
    known = {entry["name"]: entry["value"] for entry in member["covariates"] or ()}
    return {
        **({"image": shown[0]} if len(shown) == 1 else {"images": shown}),
        **{name: str(member[name]) for name in IDS},
        "site": member["site"],
        **{name: said.get(name) for name in labels},
        **{f"covariate_{name}": known.get(name) for name in covariates},
    }


def _names(members: list[Row], column: str) -> list[str]:
    return sorted({entry["name"] for member in members for entry in member[column] or ()})


def _schema(labels: list[str], covariates: list[str], n_tiles: int) -> pa.Schema:
    texts = [*IDS, "site"]
    numbers = [*labels, *(f"covariate_{name}" for name in covariates)]
    if taken := sorted({*texts, "image", "images"} & set(numbers)):
        raise ConfigurationError(
            f"A label is called {', '.join(taken)}, as a column of the export is. Name it otherwise."
        )
    pixels = pa.field("image", _IMAGE) if n_tiles == 1 else pa.field("images", pa.list_(_IMAGE))
    one: dict[str, Any] = {"_type": "Image"}
    features = {
        pixels.name: one if n_tiles == 1 else {"feature": one, "_type": "List"},
        **{name: {"dtype": "string", "_type": "Value"} for name in texts},
        **{name: {"dtype": "float32", "_type": "Value"} for name in numbers},
    }
    fields = [
        pixels,
        *(pa.field(n, pa.string()) for n in texts),
        *(pa.field(n, pa.float32()) for n in numbers),
    ]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _readme(facts: Mapping[str, Any], splits: list[str], schema: pa.Schema) -> str:
    files = [{"split": split, "path": f"data/{split}.parquet"} for split in splits]
    front = {"pretty_name": str(facts["name"]), "configs": [{"config_name": "default", "data_files": files}]}
    return "\n".join(
        [
            "---",
            yaml.safe_dump(front, sort_keys=False).rstrip(),
            "---",
            "",
            f"# Cohort {facts['name']}",
            "",
            str(facts["spec"]["purpose"]),
            "",
            f"Exported from cohort `{facts['cohort_id']}`, snapshot {facts['snapshot']}. De-identified; `card.md` says who is in it and",
            "what it is not good for. Splits are by patient: `holdout` are sites that no other split has. Labels are 1, 0, -1",
            "(uncertain) or null (unknown); images are windowed to 8 bits and padded to a square, bright is dense.",
            "",
            "```python",
            "from datasets import load_dataset",
            "",
            'splits = load_dataset("path/of/this/folder")',
            "```",
            "",
            f"Columns: {', '.join(f'`{name}`' for name in schema.names)}.",
            "",
        ]
    )
