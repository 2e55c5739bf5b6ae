"""Every generated DICOM file is what it says it is."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from pathlib import Path

import highdicom
import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames

STANDARD = Path(highdicom.__file__).parent / "_standard"
DECODERS = {
    "1.2.840.10008.1.2.4.50": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.70": imagecodecs.ljpeg_decode,
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.201": imagecodecs.htj2k_decode,
}


@pytest.fixture(scope="module")
def datasets(generated):
    return [(name, pydicom.dcmread(io.BytesIO(data))) for name, data in generated.images()]


def pixels(ds: pydicom.Dataset) -> np.ndarray:
    """Stored values: pydicom decodes, or imagecodecs where this environment has no plugin for the syntax."""
    decode = DECODERS.get(str(ds.file_meta.TransferSyntaxUID))
    if decode is None:
        return ds.pixel_array
    frames = [
        decode(f) for f in generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames", 1)))
    ]
    return np.stack(frames) if len(frames) > 1 else frames[0]


@pytest.mark.filterwarnings("ignore:The pixel data is")
def test_every_file_is_read_and_its_pixels_decode_to_the_stated_shape(datasets):
    assert len(datasets) > 100
    for _, ds in datasets:
        array = pixels(ds)
        shape = (int(ds.Rows), int(ds.Columns)) + ((3,) if ds.SamplesPerPixel == 3 else ())
        frames = int(ds.get("NumberOfFrames", 1))
        assert array.shape == ((frames, *shape) if frames > 1 else shape)
        assert array.max() > array.min()
        if ds.PixelRepresentation == 0:
            assert array.max() < 2**ds.BitsStored


def test_pydicom_decodes_each_syntax_that_it_has_a_plugin_for_to_the_same_values(datasets):
    seen = {}
    for _, ds in datasets:
        seen.setdefault(str(ds.file_meta.TransferSyntaxUID), ds)
    for syntax, ds in seen.items():
        if syntax == "1.2.840.10008.1.2.4.50":
            continue  # lossy: decoders may differ by one
        try:
            array = ds.pixel_array
        except (RuntimeError, NotImplementedError):
            continue
        other = pixels(ds)
        np.testing.assert_array_equal(array.astype(np.int64) & 0xFFFF, other.astype(np.int64) & 0xFFFF)


def test_the_sites_use_ten_transfer_syntaxes(datasets):
    assert {str(ds.file_meta.TransferSyntaxUID) for _, ds in datasets} == {
        "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80",
        "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.5",
    }  # fmt: skip


def test_every_object_has_the_attributes_that_its_class_requires(datasets):
    iods = json.loads((STANDARD / "iod_module_map.json").read_text())
    attributes = json.loads((STANDARD / "module_attribute_map.json").read_text())
    classes = json.loads((STANDARD / "sop_class_iod_map.json").read_text())
    for name, ds in datasets:
        for module in iods[classes[str(ds.SOPClassUID)]]:
            if module["usage"] != "M":
                continue
            for attribute in attributes.get(module["key"], []):
                if attribute["path"]:
                    continue
                keyword = attribute["keyword"]
                if attribute["type"] in ("1", "2"):
                    assert keyword in ds, f"{name} lacks {keyword} of {module['key']}"
                if attribute["type"] == "1":
                    assert ds[keyword].value not in (None, ""), f"{name} has an empty {keyword}"


def test_file_meta_agrees_with_the_dataset(datasets):
    for _, ds in datasets:
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert ds.file_meta.MediaStorageSOPClassUID == ds.SOPClassUID


def test_instance_uids_are_unique_and_short_enough(datasets):
    uids = [ds.SOPInstanceUID for _, ds in datasets]
    assert len(set(uids)) == len(uids)
    assert all(len(uid) <= 64 for uid in uids)


def test_axial_stacks_are_evenly_spaced_and_orthogonal(datasets, generated):
    stacks = defaultdict(list)
    for _, ds in datasets:
        if ds.Modality in ("CT", "MR") and "LOCALIZER" not in ds.ImageType and "ImagePositionPatient" in ds:
            stacks[ds.SeriesInstanceUID].append(ds)
    assert len(stacks) > 20
    for stack in stacks.values():
        cosines = np.array([float(v) for v in stack[0].ImageOrientationPatient])
        normal = np.cross(cosines[:3], cosines[3:])
        assert np.dot(cosines[:3], cosines[3:]) == 0
        places = sorted(float(np.dot(normal, [float(v) for v in ds.ImagePositionPatient])) for ds in stack)
        gaps = np.diff(places)
        assert gaps.min() > 0
        if "REFORMATTED" not in stack[0].ImageType:
            np.testing.assert_allclose(gaps, float(stack[0].SpacingBetweenSlices), atol=1e-3)
        # the field of view is centred on the origin
        if abs(normal[2]) == 1:
            corner, spacing = float(stack[0].ImagePositionPatient[0]), float(stack[0].PixelSpacing[1])
            assert corner == pytest.approx(-spacing * (stack[0].Columns - 1) / 2, abs=0.01)


def test_a_chest_ct_is_one_axial_series_between_a_localizer_and_a_dose_screen(datasets):
    kinds = defaultdict(lambda: defaultdict(set))
    for _, ds in datasets:
        if ds.Modality == "CT":
            kinds[ds.StudyInstanceUID][tuple(ds.ImageType)[2]].add(ds.SeriesInstanceUID)
    assert kinds
    for study in kinds.values():
        assert len(study["AXIAL"]) == len(study["LOCALIZER"]) == len(study["OTHER"]) == 1
    assert any("REFORMATTED" in study for study in kinds.values())


def test_hounsfield_units_are_those_of_lung_and_soft_tissue(datasets):
    checked = 0
    for _, ds in datasets:
        if ds.Modality == "CT" and "AXIAL" in ds.ImageType:
            hu = pixels(ds).astype(float) * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
            rows, columns = hu.shape
            centre = np.median(hu[rows // 2 - 3 : rows // 2 + 3, columns // 2 - 3 : columns // 2 + 3])
            assert -50 < centre < 150  # the mediastinum
            lungs = hu[rows // 2 - 5 : rows // 2 + 5, columns // 4 : 3 * columns // 4]
            assert np.percentile(lungs, 5) < -700
            checked += 1
    assert checked > 20


def test_one_site_writes_inverted_films(datasets, generated):
    films = defaultdict(set)
    for name, ds in datasets:
        if ds.Modality in ("CR", "DX"):
            films[name.split("/")[0]].add(ds.PhotometricInterpretation)
    assert films["st-elsewhere"] == {"MONOCHROME1"}
    assert films["minato-bay"] == {"MONOCHROME2"}
