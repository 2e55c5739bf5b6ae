"""What is taken out of every frame of one object: boxes and a mask, as one function of stored values.

What belongs here: which stored values stand for black, and writing them. What does not: which boxes (pixels), and how a
frame is decoded and encoded again (redact).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.bitstream import Layout
from curation.deid.pixels import Box, Plan
from curation.part10 import JPEG_2000
from curation.records import Refused

_DECODED_TO_RGB = ("YBR_ICT", "YBR_RCT")


@dataclass(frozen=True, slots=True)
class Cut:
    """The boxes of every frame, and a mask [frames, rows, columns] as packed bits whose pixels become `fill`."""

    boxes: tuple[Box, ...]
    mask: bytes | None
    fill: int
    shape: tuple[int, int, int]
    is_ybr: bool

    def __call__(self, values: NDArray[Any], index: int) -> NDArray[Any]:
        """Frame `index` with what must go replaced; `values` is [rows, columns] or [rows, columns, samples]."""
        cut = np.array(values)
        for box in self.boxes:
            part = cut[box.y : box.y + box.height, box.x : box.x + box.width]
            part[...] = 0
            if self.is_ybr and cut.ndim == 3:
                part[..., 1:] = 128  # black has no colour difference
        if self.mask is not None:
            cut[self._frame_mask(index)] = self.fill
        return cut

    def _frame_mask(self, index: int) -> NDArray[np.bool_]:
        n_frames, rows, columns = self.shape
        first, last = index * rows * columns, (index + 1) * rows * columns
        packed = np.frombuffer(self.mask or b"", np.uint8)
        if index >= n_frames or packed.size < -(-n_frames * rows * columns // 8):
            raise ValueError("The mask has another shape than the frames.")
        bits = np.unpackbits(packed[first // 8 : -(-last // 8)])[first % 8 :][: last - first]
        mask: NDArray[np.bool_] = bits.reshape(rows, columns).astype(bool)
        return mask


def cut_of(plan: Plan, layout: Layout, transfer_syntax: str) -> Cut | None:
    """The plan's boxes and mask as a function; None where it takes nothing out.

    Raises Refused("identity_suspected") where a mask is asked for pixels that are not one stored value each.
    """
    if not plan.regions and plan.mask is None:
        return None
    if plan.mask is not None and layout.samples > 1:
        raise Refused("identity_suspected")
    is_rgb = transfer_syntax in JPEG_2000 and layout.photometric in _DECODED_TO_RGB
    return Cut(
        boxes=tuple(_inside(region.box, layout) for region in plan.regions),
        mask=plan.mask,
        fill=plan.fill,
        shape=(layout.n_frames, layout.rows, layout.columns),
        is_ybr=layout.photometric.startswith("YBR_") and not is_rgb,
    )


def _inside(box: Box, layout: Layout) -> Box:
    """The part of a box that lies in the picture: a negative corner would count from the other side."""
    left, top = max(box.x, 0), max(box.y, 0)
    right, bottom = min(box.x + box.width, layout.columns), min(box.y + box.height, layout.rows)
    return Box(left, top, max(right - left, 0), max(bottom - top, 0))
