"""Questions and reports through a vision-language model, tuned by TRL. The model is tiny and **random**: plumbing, no medicine."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from curation.records import ConfigurationError
from tests.training.planted import SIZE, lay_down
from training import dialogue
from training.spec import parse_spec
from training.text import Texts
from training.tune import tune

pytest.importorskip("trl")
from tests.training.tiny_vlm import save_vlm

torch.set_num_threads(1)
CLEAR, OPAQUE = "The lungs are clear. No consolidation.", "There is consolidation in the left lung."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = [CLEAR, OPAQUE, "Is there opacity? Answer yes or no.", "yes no user assistant", dialogue.PROMPT]
    return save_vlm(tmp_path_factory.mktemp("vlm") / "model", words * 4, SIZE)


def spec(model: Path, kind: str, label: str, **budget: object):
    return parse_spec(
        {
            "name": f"tiny-{kind}",
            "cohort": "planted",
            "model": {"id": str(model), "input": {"size": SIZE}},
            "task": {"kind": kind, "labels": [label]},
            "method": {"kind": "lora", "rank": 8, "batch_size": 8, "lr": 2e-2},
            "budget": {"max_minutes": 3, "max_epochs": 8, **budget},
            "compute": {"device": "cpu", "threads": 1},
            "report": {"subgroups": ["site"], "bootstrap": 20, "min_cell": 5},
        }
    )


def named(folder: Path, label: str) -> list[float]:
    """Gives the cohort's label another name; its values."""
    path = folder / "members.parquet"
    members = pq.read_table(path)
    rows = [[{**one, "name": label} for one in row] for row in members["labels"].to_pylist()]
    place = members.column_names.index("labels")
    field = members.field(place)
    pq.write_table(members.set_column(place, field, pa.array(rows, field.type)), path)
    return [row[0]["value"] for row in rows]


def test_questions_are_judged_as_labels_are_and_the_model_comes_back(model: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lay_down(lake, n=60)
    run = tune(lake, spec(model, "vqa", "opacity"), report=lambda facts: None)
    report = json.loads((run / "report.json").read_text())
    assert report["baseline"]["name"] == "zero_shot"
    losses = [
        r["value"] for r in pq.read_table(run / "history.parquet").to_pylist() if r["name"] == "train/loss"
    ]
    assert losses[-1] < 0.5 * losses[0], "it learns to answer yes or no at all"
    rows = [r for r in pq.read_table(run / "predictions.parquet").to_pylist() if r["arm"] == "tuned"]
    assert {r["split"] for r in rows} == {"tune", "test", "holdout"}
    members = pq.read_table(next((lake / "cohorts").iterdir()) / "members.parquet").to_pylist()
    place = next(i for i, m in enumerate(members) if m["split"] == "test")
    from training import batches
    from training.model_spec import Input

    pack = batches.find_pack(lake, next((lake / "cohorts").iterdir()), Input(size=SIZE), lambda n, of: None)
    images = dialogue._images(batches.Tiles(pack, 60), np.array([place]))
    logit, _ = dialogue.load_dialogue(run).chance_of_yes(images, [dialogue.question_of("opacity")])
    said = next(r["score"] for r in rows if r["study_id"] == members[place]["study_id"])
    assert 1 / (1 + np.exp(-logit[0])) == pytest.approx(said, abs=1e-4)


def test_reports_are_written_and_judged_by_what_they_assert(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = tmp_path / "lake"
    labels = named(lay_down(lake, n=60), "consolidation")
    texts = Texts(tuple(OPAQUE if y else CLEAR for y in labels), ("en",) * 60)
    monkeypatch.setattr(
        dialogue, "read_texts", lambda lake_root, examples: texts
    )  # the cohort has no lake behind it
    run = tune(
        lake, spec(model, "report_generation", "consolidation", max_epochs=30), report=lambda facts: None
    )
    written = pq.read_table(run / "generated.parquet").to_pylist()
    tuned = [r["text"] for r in written if r["arm"] == "tuned"]
    assert sum(text in (CLEAR, OPAQUE) for text in tuned) > len(tuned) / 2, "it writes what it was taught"
    lines = [
        i for i in json.loads((run / "report.json").read_text())["items"] if i["section"] == "generation"
    ]
    assert {i["item"].partition(": ")[2] for i in lines} >= {"omitted, tuned", "made up, untuned"}
    names = {m["name"] for m in pq.read_table(run / "metrics.parquet").to_pylist()}
    assert {"f1", "precision", "recall"} <= names


def test_a_stopped_run_goes_on(model: Path, tmp_path: Path) -> None:
    from training.job import Stopped

    lake = tmp_path / "lake"
    lay_down(lake, n=60)
    steps: list[int] = []
    with pytest.raises(Stopped):
        tune(
            lake, spec(model, "vqa", "opacity"), report=lambda facts: steps.append(facts.get("step", 0)),
            should_stop=lambda: max(steps, default=0) >= 8,
        )  # fmt: skip
    run = tune(lake, spec(model, "vqa", "opacity"), report=lambda facts: None)
    seen = [
        r["step"] for r in pq.read_table(run / "history.parquet").to_pylist() if r["name"] == "train/loss"
    ]
    assert len(seen) == len(set(seen)), "no step was taken twice"


def test_what_is_no_such_model_is_refused(model: Path, tmp_path: Path) -> None:
    lay_down(tmp_path / "lake", n=60)
    with pytest.raises(ConfigurationError, match="must hold config"):
        tune(tmp_path / "lake", spec(tmp_path, "vqa", "opacity"), report=lambda facts: None)
    bare = shutil.copytree(model, tmp_path / "bare")
    for path in (bare / "chat_template.jinja", bare / "chat_template.json"):
        path.unlink(missing_ok=True)
    config = json.loads((bare / "processor_config.json").read_text())
    config.pop("chat_template", None)
    (bare / "processor_config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match="no chat template"):
        tune(tmp_path / "lake", spec(bare, "vqa", "opacity"), report=lambda facts: None)
    with pytest.raises(ConfigurationError, match="no finding of the lexicon"):
        named(next((tmp_path / "lake" / "cohorts").iterdir()), "zebra")
        tune(tmp_path / "lake", spec(model, "report_generation", "zebra"), report=lambda facts: None)
