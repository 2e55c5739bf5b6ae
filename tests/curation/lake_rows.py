"""Rows for the tests of the lake: every column a plain value, the interesting ones as arguments."""

from __future__ import annotations

import dataclasses
import hashlib
import typing
from datetime import date
from types import NoneType
from typing import Any
from uuid import UUID

from curation import records


def an_id(text: str) -> UUID:
    return UUID(bytes=hashlib.sha256(text.encode()).digest()[:16])


def row(row_class: type, **given: Any) -> Any:
    """A row of a class: NULL where that is allowed, else an empty value, else what is given."""
    empty = {UUID: UUID(int=0), str: "", int: 0, float: 0.0, bool: False, bytes: b"", date: date(2020, 1, 1)}
    hints = typing.get_type_hints(row_class, localns={})
    values = {}
    for field in dataclasses.fields(row_class):
        hint = hints[field.name]
        is_optional = NoneType in typing.get_args(hint)
        values[field.name] = None if is_optional else empty.get(hint, [])
    return row_class(**{**values, **given})


def instance(**given: Any) -> records.Instance:
    return row(records.Instance, **given)
