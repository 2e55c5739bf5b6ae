"""The benchmark of a GPU takes its whole road on a CPU, with a tiny model, and writes nothing where there is no GPU."""

import json
import sys

import pytest
import torch

from benchmarks.tuning import bench_gpu

torch.set_num_threads(1)


def test_without_a_gpu_it_says_so_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    before = bench_gpu.RESULT.exists()
    monkeypatch.setattr(sys, "argv", ["bench_gpu"])
    bench_gpu.main()
    assert "No CUDA" in capsys.readouterr().out
    assert bench_gpu.RESULT.exists() == before


def test_its_road_is_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before = bench_gpu.RESULT.exists()
    monkeypatch.setattr(sys, "argv", ["bench_gpu", "--smoke"])
    bench_gpu.main()
    out = capsys.readouterr().out
    facts = json.loads(out[out.index('{\n "about"') :])
    assert set(facts["images_s"]) == {"embed", "lora", "full", "full synthetic", "full transformers.Trainer"}
    assert all(speed > 0 for speed in facts["images_s"].values())
    assert bench_gpu.RESULT.exists() == before
