"""The objects of one series as pixel rules see them: clean headers, and frames that are read only when they are asked for.

What belongs here: opening files again and again so that a series of any size takes the memory of a few frames. What does not:
what is decided of the pixels (pixels), who sends the files (steps, folder).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from curation import frames
from curation.deid.header import Clean, clean_header
from curation.deid.pixels import Member, PixelRules, Plan, plan_series
from curation.deid.policy import Policy
from curation.deid.pseudonyms import Pseudonyms
from curation.records import Refused

KEPT_FRAMES = 4
"""Decoded frames of one series held at a time."""


@contextmanager
def mapped(path: Path) -> Iterator[mmap | bytes]:
    """The file's bytes, mapped: what is not looked at takes no memory."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            yield b""
            return
        with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            yield data


def plan_files(
    paths: Sequence[Path], policy: Policy, pseudonyms: Pseudonyms, site: str, rules: PixelRules
) -> list[Plan | str]:
    """For each file of one series, what becomes of its pixels, or the reason why it is withheld.

    The files are distinct objects that `triage` wants looked at. No file stays open: a series may have more of them than a
    process may open.
    """
    cleans: list[Clean | str] = []
    for path in paths:
        try:
            with mapped(path) as data:
                cleans.append(clean_header(data, policy, pseudonyms, site))
        except Refused as refusal:
            cleans.append(refusal.reason)

    @lru_cache(maxsize=KEPT_FRAMES)
    def frame(at: int, index: int) -> NDArray[Any]:
        clean = cleans[at]
        assert isinstance(clean, Clean)
        with mapped(paths[at]) as data:
            return frames.read_frame(data, clean, index)

    members = [Member(c, partial(frame, at)) for at, c in enumerate(cleans) if isinstance(c, Clean)]
    plans = plan_series(members, policy, rules)
    return [plans[c.instance_id] if isinstance(c, Clean) else c for c in cleans]
