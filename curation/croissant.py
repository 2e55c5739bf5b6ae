"""croissant.json: a cohort as Croissant 1.0 JSON-LD, by hand.

What belongs here: files, fields and their types. What does not: counts (card); small cells have no place in metadata.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation import records

_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(facts: Mapping[str, Any], folder: Path, tables: Mapping[str, type]) -> dict[str, Any]:
    """JSON-LD of a folder of Parquet files: `tables` maps a file's stem to the row class of its rows."""
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": str(facts["name"]),
        "description": facts["spec"]["purpose"] or f"Cohort {facts['name']}.",
        "version": f"{facts['snapshot']}.0.0",
        "identifier": str(facts["cohort_id"]),
        "isLiveDataset": False,
        "rai:personalSensitiveInformation": "De-identified medical images and reports; dates shifted, ages capped at 90.",
        "distribution": [_file(folder / f"{name}.parquet") for name in tables],
        "recordSet": [_record_set(name, row_class) for name, row_class in tables.items()],
    }


def _file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "encodingFormat": "application/vnd.apache.parquet",
        "contentSize": f"{path.stat().st_size} B",
        "sha256": digest,
    }


def _record_set(name: str, row_class: type) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": (row_class.__doc__ or "").strip(),
        "field": [_field(name, field) for field in records.schema_of(row_class)],
    }


def _field(table: str, field: pa.Field) -> dict[str, Any]:
    sentence = (field.metadata or {}).get(b"sentence", b"").decode()
    described = {
        "@type": "cr:Field",
        "@id": f"{table}/{field.name}",
        "name": field.name,
        "description": sentence,
        "dataType": _data_type(field.type),
        "source": {"fileObject": {"@id": f"{table}.parquet"}, "extract": {"column": field.name}},
    }
    return described | ({"repeated": True} if pa.types.is_list(field.type) else {})


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return _data_type(kind.value_type)
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_floating(kind):
        return "sc:Float"
    return "sc:Date" if pa.types.is_date(kind) else "sc:Text"
