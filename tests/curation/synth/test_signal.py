"""The pictures show what the truth says: a simple feature finds nodules, and comorbidity makes it harder."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from curation.synth.case import Case, Staff
from curation.synth.chance import stream
from curation.synth.dialect import load_dialects, load_profile
from curation.synth.identity import Coiner
from curation.synth.people import Disease, make_person
from curation.synth.phantoms import brain, ct, radiograph, ultrasound
from curation.synth.phantoms.canvas import Grid
from curation.synth.phantoms.thorax import make_thorax
from curation.synth.studies import STUDIES

HEALTHY = {"nodule_mm": 0.0, "nodule_contrast": 0.9, "effusion": 0.0, "emphysema": 0.0, "fibrosis": 0.0}
HEALTHY |= {"lesion_mm": 0.0, "mass_mm": 0.0}


def strongest_blob(hu: np.ndarray, spacing_mm: float, radius_mm: float = 11.0) -> float:
    """How much the roundest bright spot inside the lungs stands out, at one scale."""
    image = np.clip((hu + 1000) / 1100, 0, 1)
    labels, n = ndimage.label(ndimage.binary_opening(image < 0.45, iterations=2))
    rim = set(labels[[0, -1]].ravel()) | set(labels[:, [0, -1]].ravel())
    sizes = ndimage.sum(labels > 0, labels, range(1, n + 1))
    lungs = [i + 1 for i in np.argsort(-sizes) if i + 1 not in rim][:2]
    mask = ndimage.binary_closing(np.isin(labels, lungs), iterations=5)
    mask = ndimage.binary_erosion(ndimage.binary_fill_holes(mask), iterations=2)
    sigma = radius_mm / spacing_mm / 1.6
    blobs = ndimage.gaussian_filter(image, sigma) - ndimage.gaussian_filter(image, 1.8 * sigma)
    return float(blobs[mask].max()) if mask.any() else 0.0


def middle_slice(files) -> tuple[np.ndarray, float]:
    axial = [ds for f in files if "AXIAL" in (ds := pydicom.dcmread(io.BytesIO(f.data))).ImageType]
    axial.sort(key=lambda ds: float(ds.ImagePositionPatient[2]))
    ds = axial[len(axial) // 2]
    return ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept), float(ds.PixelSpacing[0])


@pytest.mark.filterwarnings("ignore:The pixel data is")
def test_the_middle_slice_of_a_ct_tells_who_has_a_nodule():
    profile, coiner = load_profile("tiny"), Coiner(stream(1))
    scores, truth = [], []
    for dialect in load_dialects()[:4]:
        staff = Staff((coiner.name(dialect),), (coiner.name(dialect),))
        for index in range(50):
            person = make_person(5, dialect, profile, coiner, index)
            study = person.studies[0]
            if study.kind == "ct":
                files = STUDIES["ct"](Case(5, dialect, profile, person, study, coiner, staff, index))
                scores.append(strongest_blob(*middle_slice(files)))
                truth.append(person.disease.has("nodule"))
    assert 0.3 < np.mean(truth) < 0.55
    # clearly better than chance, and not given away
    assert 0.7 < roc_auc_score(truth, scores) < 0.99


def lung_scores(n: int, **disease: float) -> tuple[list[float], list[bool]]:
    """Scores of n chests with and n without a nodule, all with the same comorbidity and the same anatomy."""
    grid, scores, truth = Grid(96, 96, ct.FIELD_MM / 96), [], []
    for k in range(n):
        for has in (False, True):
            size = stream(k, "size").uniform(10, 22) if has else 0.0
            chest = make_thorax(stream(k, "chest"), Disease(**{**HEALTHY, **disease, "nodule_mm": size}), "M")
            image = ct.stack(chest, stream(k, "noise", has), grid, np.zeros(1), 1.0, 5.0)[0]
            scores.append(strongest_blob(image, grid.spacing_mm, 9.0))
            truth.append(has)
    return scores, truth


@pytest.mark.parametrize("comorbidity", ["emphysema", "fibrosis"])
def test_comorbidity_makes_nodules_harder_to_find(comorbidity):
    healthy, truth = lung_scores(60)
    ill, same = lung_scores(60, **{comorbidity: 0.9})
    assert truth == same
    assert roc_auc_score(truth, healthy) > roc_auc_score(truth, ill) + 0.02


def test_a_nodule_is_denser_than_its_surroundings_on_a_film():
    grid = Grid(128, 128, radiograph.FIELD_MM / 128)
    scores, truth = [], []
    for k in range(50):
        ill = Disease(**{**HEALTHY, "nodule_mm": float(stream(k, "size").uniform(12, 30))})
        chest = make_thorax(stream(k, "chest"), ill, "F")
        x, _, z, radius, _ = chest.nodules[0]
        distance = np.hypot(grid.x - x, -grid.y - z)
        inside, around = distance < radius, (distance > radius + 2) & (distance < 2 * radius + 6)
        for disease in (Disease(**HEALTHY), ill):
            chest = make_thorax(stream(k, "chest"), disease, "F")
            film = radiograph.film(chest, stream(k, "film"), grid, 1.0, 1.0)
            scores.append(film[inside].mean() - film[around].mean())
            truth.append(disease.has("nodule"))
    assert roc_auc_score(truth, scores) > 0.8


def test_a_lesion_is_bright_on_flair_and_dark_on_t1():
    grid = Grid(64, 64, brain.FIELD_MM / 64)
    head = brain.make_head(stream(3), grid, 24.0)
    x, y, *_ = head.lesion
    inside = np.hypot(grid.x - x, grid.y - y) < 8
    for sequence, sign in (("flair", 1), ("dwi", 1), ("t2", 1), ("t1", -1)):
        sick = brain.stack(head, stream(4), grid, np.zeros(1), sequence, 1.0)[0]
        well = brain.stack(
            brain.make_head(stream(3), grid, 0.0), stream(4), grid, np.zeros(1), sequence, 1.0
        )[0]
        assert sign * (sick[inside].mean() - well[inside].mean()) > 0.1


def test_a_mass_is_darker_than_the_tissue_around_it():
    scores = [
        ultrasound.cine(stream(k), 80, 96, 2, size, 1.0)[0, 30:55, 25:70]
        for k in range(30)
        for size in (0, 18)
    ]
    dark = [float(np.quantile(ndimage.gaussian_filter(s.astype(float), 3), 0.02)) for s in scores]
    assert roc_auc_score([False, True] * 30, [-d for d in dark]) > 0.7


def test_the_first_nodule_is_cut_by_several_slices_in_the_middle_of_a_demo_stack():
    n_cut = []
    for k in range(40):
        ill = Disease(**{**HEALTHY, "nodule_mm": float(stream(k, "s").uniform(11, 30))})
        _, _, z, radius, _ = make_thorax(stream(k), ill, "M").nodules[0]
        heights = (np.arange(12) - 5.5) * 5.0
        n_cut.append(int((np.abs(heights - z) < radius).sum()))
        assert np.abs(heights[[5, 6]] - z).min() < radius
    assert np.mean(n_cut) >= 3
