"""Masks are learned from real SEG objects of a lake, by a decoder on frozen tokens and beyond, and judged per series."""

import json
from pathlib import Path

import highdicom
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pydicom import dcmread

from curation.lake import Lake
from curation.records import ConfigurationError
from curation.settings import load_settings
from curation.tile import letterbox
from tests.curation.segmented import deliver, make_lake
from training.decoder import SCALE, Decoder
from training.masks import drawn_masks
from training.predict import predict
from training.segmentation_object import on_image
from training.spec import parse_spec
from training.task import find_task
from training.tune import tune

torch.set_num_threads(1)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]


def spec(folder: Path, kind: str, **method: object):
    return parse_spec(
        {
            "name": f"lesion-{kind}",
            "cohort": folder.name,
            "model": {"id": "builtin:tiny-vit", "input": {"size": 56, "tiles": 2}},
            "task": {"kind": "segmentation", "labels": ["lung_lesion"]},
            "method": {"kind": kind, "blocks": 1, "batch_size": 8, "head_lr": 1e-2, **method},
            "budget": {"max_minutes": 3, "max_epochs": 30 if kind == "probe" else 5, "patience": 30},
            "compute": {"device": "cpu", "threads": 1},
            "report": {"subgroups": ["site"], "bootstrap": 50, "min_cell": 2},
        }
    )


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Path]:
    return make_lake(tmp_path_factory.mktemp("segmentation") / "home", 30, n_slices=2)


def dice(run: Path, arm: str, split: str) -> float:
    rows = [
        r
        for r in pq.read_table(run / "overlap.parquet").to_pylist()
        if r["arm"] == arm and r["split"] == split
    ]
    return float(np.mean([r["dice"] for r in rows]))


def test_a_decoder_learns_to_draw_and_the_report_says_how_well(lesions: tuple[Lake, Path]) -> None:
    lake, folder = lesions
    run = tune(lake.root, spec(folder, "probe"), report=lambda facts: None)
    assert dice(run, "tuned", "test") > 0.6
    assert dice(run, "tuned", "test") > dice(run, "untuned", "test")
    report = json.loads((run / "report.json").read_text())
    assert report["baseline"]["name"] == "linear_patches"
    metrics = {
        (m["name"], m["arm"]): m
        for m in pq.read_table(run / "metrics.parquet").to_pylist()
        if (m["split"], m["site"], m["subgroup"]) == ("test", "all", "all")
    }
    assert metrics["dice", "tuned"]["value"] == pytest.approx(dice(run, "tuned", "test"), abs=1e-9)
    assert metrics["hd95_mm", "tuned"]["value"] > 0
    assert metrics["nsd", "gain"]["low"] <= metrics["nsd", "gain"]["value"] <= metrics["nsd", "gain"]["high"]


def test_predicted_masks_come_back_as_a_segmentation_of_the_right_images(
    lesions: tuple[Lake, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lake, folder = lesions
    home = lake.root.parent
    run = tune(lake.root, spec(folder, "probe"), report=lambda facts: None)
    deliver(tmp_path / "new", range(900, 902), n_slices=2)
    settings = load_settings(home).model_copy(update={"workers": 1})
    found = predict(settings, run.name, tmp_path / "new", tmp_path / "out", site="north")
    assert (found.series, found.documents, found.refused) == (2, 2, {"not_tuned_on": 2}), (
        "SEG objects are not judged"
    )
    overlaps = []
    for path in (tmp_path / "out" / "seg").iterdir():
        drawn = highdicom.seg.segread(path)
        uids = [uid for _, _, uid in drawn.get_source_image_uids()]
        sources = {str(d.SOPInstanceUID): d for d in map(dcmread, (tmp_path / "new").rglob("ct*.dcm"))}
        assert set(uids) <= sources.keys()
        assert (drawn.PatientID, drawn.StudyInstanceUID) == (
            sources[uids[0]].PatientID, sources[uids[0]].StudyInstanceUID,
        )  # fmt: skip
        masks = drawn.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)[..., 0] > 0
        bright = np.stack([sources[uid].pixel_array > 1024 - 450 for uid in uids])
        overlaps.append(2 * (masks & bright).sum() / (masks.sum() + bright.sum()))
        assert "rwid" in str(drawn.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence)
    assert min(overlaps) > 0.5, "masks lie where the lesions are"
    said = capfd.readouterr()
    assert "Kowalczyk" not in said.out + said.err
    rows = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    assert {r["label"] for r in rows} == {"lung_lesion"}
    assert all(0 < r["score"] < 0.5 for r in rows)
    predict(settings, run.name, tmp_path / "new", tmp_path / "again", site="north")
    for path in (tmp_path / "out" / "seg").iterdir():
        assert (tmp_path / "again" / "seg" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kind", ["cut", "lora"])
def test_what_moves_starts_from_the_decoder_and_is_never_worse_on_tune(
    lesions: tuple[Lake, Path], kind: str
) -> None:
    lake, folder = lesions
    run = tune(lake.root, spec(folder, kind, lr=1e-3), report=lambda facts: None)
    assert dice(run, "tuned", "tune") >= dice(run, "untuned", "tune") - 0.02
    assert (run / "adapter.safetensors").is_file()


def test_what_cannot_be_drawn_is_said(lesions: tuple[Lake, Path]) -> None:
    lake, folder = lesions
    wanted = spec(folder, "probe").model_dump(mode="json")
    wanted["task"]["labels"] = ["spleen"]
    with pytest.raises(ConfigurationError, match="there are: lung_lesion"):
        tune(lake.root, parse_spec(wanted), report=lambda facts: None)


def test_unknown_cells_teach_nothing_and_an_empty_reference_does() -> None:
    task = find_task(spec(Path("x"), "probe").task)
    logits = torch.zeros(2, 1, 1, 4, 4, requires_grad=True)
    targets = torch.full((2, 1, 1, 4, 4), float("nan"))
    targets[0] = 0.0
    weights = torch.ones(2, 1, 1, 1, 1)
    task.loss(logits, targets, weights).backward()
    assert logits.grad is not None
    assert (logits.grad[1] == 0).all()
    assert (logits.grad[0] > 0).all(), "down where nothing is"


def test_a_decoder_draws_each_tile_by_itself() -> None:
    made = Decoder(8, 16, 2, 3, is_linear=False, seed=1)
    tokens = torch.randn(4, 16, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        both = made(tokens[:, 0], tokens, 2)
        assert both.shape == (2, 3, 2, 4 * SCALE, 4 * SCALE)
        other = tokens.clone()
        other[1] = 0
        changed = made(other[:, 0], other, 2)
    assert torch.equal(both[0, :, 0], changed[0, :, 0])
    assert not torch.equal(both[0, :, 1], changed[0, :, 1])
    assert drawn_masks(both.numpy().astype(np.float64), 20).shape == (2, 3, 2, 20, 20)


@pytest.mark.parametrize(("rows", "columns"), [(48, 96), (96, 48), (51, 97)])
def test_a_mask_lies_where_it_was_seen_on_images_that_are_not_square(rows: int, columns: int) -> None:
    y, x = np.mgrid[:rows, :columns]
    mask = ((y / rows - 0.3) / 0.15) ** 2 + ((x / columns - 0.7) / 0.1) ** 2 <= 1
    tile, _, _ = letterbox(mask * 255.0, 56)
    drawn = on_image(tile[None] / 255.0 - 0.5, 56, rows, columns)[0]
    assert drawn.shape == mask.shape
    assert 2 * (drawn & mask).sum() / (drawn.sum() + mask.sum()) > 0.95
