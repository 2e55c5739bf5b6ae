"""How much face goes, and how much brain with it.

    python -m benchmarks.deid.bench_faces                                   # the made-up heads of the tests, CT and T1
    python -m benchmarks.deid.bench_faces --head ch2.nii.gz --brain ch2bet.nii.gz

The second form takes a real T1 head and its brain without skull as NIfTI (needs the package nibabel); Debian's package
mricron-data has a pair of one person, Colin27. Prints and writes one line a head: brain lost (share of its voxels),
what was removed in ml, and by how many mm the skin of the face moved back (median and tenth percentile over the face
seen from the front). Whether a person is still recognised is NOT measured: it takes photographs and a recogniser.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.deid.head import Plane, Stack, find_face
from tests.curation.deid.head_phantom import stack


def measure(name: str, head: Stack, brain: NDArray[np.bool_], skin_above: float) -> dict[str, Any]:
    """One line of the result."""
    started = time.perf_counter()
    face = find_face(head, 7)
    _, rows, columns = head.values.shape
    mask = np.stack([face.mask(plane, rows, columns) for plane in head.planes])
    seconds = time.perf_counter() - started
    step = [
        float(np.linalg.norm(v))
        for v in (
            head.planes[1].origin - head.planes[0].origin,
            head.planes[0].row_step,
            head.planes[0].column_step,
        )
    ]
    skin = head.values > skin_above
    touched = (skin & mask).any(axis=1)
    before = np.where(skin.any(axis=1), skin.argmax(axis=1), np.nan)
    left = skin & ~mask
    after = np.where(left.any(axis=1), left.argmax(axis=1), rows)
    moved = (after - before)[touched] * step[1]
    return {
        "head": name,
        "brain_lost": round(float((mask & brain).sum() / brain.sum()), 6),
        "brain_ml": round(float(brain.sum() * np.prod(step) / 1000), 1),
        "removed_ml": round(float((mask & skin).sum() * np.prod(step) / 1000), 1),
        "skin_moved_mm_median": round(float(np.median(moved)), 1),
        "skin_moved_mm_p10": round(float(np.percentile(moved, 10)), 1),
        "seconds": round(seconds, 2),
    }


def read_pair(head: Path, brain: Path) -> tuple[Stack, NDArray[np.bool_]]:
    """A NIfTI head and its brain as an axial stack (NIfTI counts to the right and the front, DICOM the other way)."""
    import nibabel  # type: ignore[import-not-found]

    image = nibabel.as_closest_canonical(nibabel.load(head))
    truth = nibabel.as_closest_canonical(nibabel.load(brain))
    dx, dy, dz = (float(d) for d in image.header.get_zooms()[:3])

    def axial(data: Any) -> NDArray[Any]:
        return np.ascontiguousarray(np.asarray(data)[::-1, ::-1].transpose(2, 1, 0))

    values = axial(image.dataobj).astype(np.float32)
    planes = [
        Plane(np.array([0, 0, n * dz]), np.array([0, dy, 0]), np.array([dx, 0, 0]))
        for n in range(len(values))
    ]
    return Stack(values, planes, False), axial(truth.dataobj) > 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--head", type=Path, help="NIfTI of a head")
    parser.add_argument("--brain", type=Path, help="NIfTI of its brain alone")
    parser.add_argument("--name", default="given head")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/deid_faces.json"))
    args = parser.parse_args()
    lines = []
    for name, is_ct in (("made-up head, CT", True), ("made-up head, T1", False)):
        made, brain = stack(2.0, is_ct=is_ct)
        lines.append(measure(name, made, brain, -300 if is_ct else 100))
    if args.head:
        given, brain = read_pair(args.head, args.brain)
        lines.append(measure(args.name, given, brain, 0.12 * float(given.values.max())))
    for line in lines:
        print(json.dumps(line))
    args.out.write_text(
        json.dumps({"command": "python -m benchmarks.deid.bench_faces", "heads": lines}, indent=1)
    )


if __name__ == "__main__":
    main()
