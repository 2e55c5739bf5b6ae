"""One series' predicted masks as a DICOM Segmentation, written by highdicom, on the very images that the model saw.

What belongs here: masks back on the grid of their images, and the object. What does not: predicting, files (predict). It
carries the patient and study of its source images: it belongs where they belong. The same images and masks give the same
bytes: what highdicom draws or stamps with the clock is replaced.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.structured_report import SCHEME, still, uid

Bools = NDArray[np.bool_]


def on_image(logits: NDArray[np.float64], size: int, rows: int, columns: int) -> Bools:
    """Logits [C, g, g] of one tile of `size` px -> masks [C, rows, columns]: the letterbox of curation.tile undone."""
    import torch
    from torch.nn import functional

    longest = max(rows, columns)
    height, width = (max(1, int(n * size / longest + 0.5)) for n in (rows, columns))
    top, left = (size - height) // 2, (size - width) // 2
    flat = torch.from_numpy(np.asarray(logits, dtype=np.float32))[None]
    fine = functional.interpolate(flat, size=(size, size), mode="bilinear", align_corners=False)
    own = fine[:, :, top : top + height, left : left + width]
    drawn = functional.interpolate(own, size=(rows, columns), mode="bilinear", align_corners=False)
    return np.asarray((drawn[0] > 0).numpy())


def segmentation(
    images: Sequence[Any], masks: Bools, names: Sequence[str], run_id: str, model_sha256: str
) -> tuple[Any, bytes]:
    """The object and its bytes as a DICOM file.

    images: the source datasets with their pixels, one a mask, or one multi-frame object; masks [frames, rows, columns, C].
    Raises ValueError where highdicom cannot place the masks (images without a frame of reference, say).
    """
    from highdicom import AlgorithmIdentificationSequence, seg
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    algorithm = AlgorithmIdentificationSequence(
        name="rwid", version=run_id, family=codes.DCM.ArtificialIntelligence
    )
    described = [
        seg.SegmentDescription(
            segment_number=number,
            segment_label=name[:64],
            segmented_property_category=CodedConcept("49755003", "SCT", "Morphologically Altered Structure"),
            segmented_property_type=CodedConcept(name[:16], SCHEME, name[:64]),
            algorithm_type=seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            tracking_id=f"{name[:40]} of run {run_id}",
            tracking_uid=uid("segment", name, run_id, str(images[0].SeriesInstanceUID)),
        )
        for number, name in enumerate(names, 1)
    ]
    digest = hashlib.sha256(np.packbits(masks).tobytes()).hexdigest()
    seed = [model_sha256, *(str(image.SOPInstanceUID) for image in images), digest]
    # highdicom warns of odd person names by writing them out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = seg.Segmentation(
            source_images=list(images),
            pixel_array=masks.astype(np.uint8),
            segmentation_type=seg.SegmentationTypeValues.BINARY,
            segment_descriptions=described,
            series_instance_uid=uid("segmentation series", *seed),
            series_number=9001,
            sop_instance_uid=uid("segmentation", *seed),
            instance_number=1,
            manufacturer="rwid",
            manufacturer_model_name=f"run {run_id}",
            software_versions="rwid",
            device_serial_number=model_sha256[:16],
            series_description="rwid predictions, not for diagnosis",
            omit_empty_frames=bool(masks.any()),
        )
    still(made, images[0])
    organisation = uid("dimensions", *seed)  # highdicom draws one
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation
    target = io.BytesIO()
    made.save_as(target, enforce_file_format=True)
    return made, target.getvalue()
