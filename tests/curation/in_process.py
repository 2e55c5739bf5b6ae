"""Work in this process instead of in workers: for tests of what comes after it, where starting interpreters is all the time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from curation.engine import Outcome
from curation.records import Refused


def map_here(
    fn: Callable[[Any, Any], Any],
    items: Iterable[Any],
    *,
    initializer: Callable[..., Any] | None = None,
    initargs: Sequence[Any] = (),
    **_: Any,
) -> Iterator[Outcome]:
    context = initializer(*initargs) if initializer else None
    for index, item in enumerate(items):
        try:
            yield Outcome(index, fn(context, item), None)
        except Refused as refusal:
            yield Outcome(index, None, refusal.reason)


def stay(patch: pytest.MonkeyPatch) -> None:
    """Curation and the second look stay in this process."""
    patch.setattr("curation.delivery.map_items", map_here)
    patch.setattr("curation.deid.verify_lake.map_items", map_here)
