"""The last word on a clean header: it claims what was done to the object's pixels, and nothing that was not.

What belongs here: markers that depend on a plan for the pixels, and what no released header may say. What does not: the plan
itself (pixels), the markers' bytes (markers).
"""

from __future__ import annotations

import struct
from dataclasses import replace

from curation.deid.explicit import elements_of
from curation.deid.header import Clean
from curation.deid.markers import BURNED_IN, mark
from curation.deid.pixels import Plan
from curation.deid.policy import Policy
from curation.records import Refused

PIXELS_CLEANED = ("(7FE0,0010)", "C")
"""How the log says that pixels were replaced."""


def seal(clean: Clean, plan: Plan, policy: Policy) -> Clean:
    """The object with markers true of the plan.

    Raises Refused("identity_suspected") where the object says that names stand in its pixels and no pass was made over them.
    """
    header = mark(clean.header, policy.profile, is_cleaned=plan.is_cleaned, is_defaced=plan.is_defaced)
    if not plan.is_cleaned and _confesses(header):
        raise Refused("identity_suspected")
    if plan.regions or plan.mask is not None:
        return replace(clean, header=header, actions=(*clean.actions, PIXELS_CLEANED))
    return clean if header is clean.header else replace(clean, header=header)


_CONFESSION = struct.pack("<HH2s", BURNED_IN >> 16, BURNED_IN & 0xFFFF, b"CS")


def _confesses(header: bytes) -> bool:
    if _CONFESSION not in header:  # most objects say nothing, and a search is cheaper than a walk
        return False
    for tag, _, _, start, stop in elements_of(header):
        if tag >= BURNED_IN:
            return tag == BURNED_IN and header[start:stop].strip(b" \0") == b"YES"
    return False
