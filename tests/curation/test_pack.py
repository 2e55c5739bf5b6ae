"""A token pack is whole or absent, the same bytes every time, and never shows a tile that nobody decoded."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation import frames
from curation.pack import PackError, PackRecipe, build_pack, open_pack, pack_id_of
from curation.records import ConfigurationError
from curation.tile import letterbox, pick_frames, reduction, resample
from tests.curation.lake_rows import an_id
from tests.curation.pack_lake import COHORT, Made, ct, instances_of, lake_with

RECIPE = PackRecipe(size=32, tiles_per_series=1)


def bytes_of(pack: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(pack.iterdir())}


def test_a_pack_has_the_tiles_of_every_member_in_the_order_of_members(tmp_path: Path) -> None:
    lake = lake_with(tmp_path, *[ct(f"s{i}") for i in range(70)])
    done: list[tuple[int, int]] = []
    pack = open_pack(
        build_pack(
            lake, COHORT, dataclasses.replace(RECIPE, tiles_per_series=2), progress=lambda *p: done.append(p)
        )
    )
    facts = pack.tiles.facts.to_pydict()
    assert facts["member_index"] == [i // 2 for i in range(140)]
    assert facts["tile_index"] == [0, 1] * 70
    assert facts["series_id"] == [an_id(f"s{i // 2}") for i in range(140)]
    assert [len(pack.tiles[g]) for g in range(len(pack.tiles))] == [64, 64, 12]
    assert pack.tiles[2].shape == (12, 32, 32)
    assert pack.members.num_rows == pack.n_members == 70
    assert done[-1] == (70, 70)
    file = pq.ParquetFile(pack.path / "tiles.parquet")
    column = file.schema_arrow.names.index("tile")
    assert {file.metadata.row_group(g).column(column).compression for g in range(3)} == {"UNCOMPRESSED"}


def test_the_same_cohort_gives_the_same_bytes_whatever_the_number_of_workers(tmp_path: Path) -> None:
    series = [ct(f"s{i}", report=f"Nodule {i} in the left lobe. No effusion.") for i in range(9)]
    one = build_pack(lake_with(tmp_path / "a", *series), COHORT, RECIPE, workers=1)
    two = build_pack(lake_with(tmp_path / "b", *series), COHORT, RECIPE, workers=3)
    assert one.name == two.name == pack_id_of(COHORT, RECIPE)
    hashes = bytes_of(one)
    assert sorted(hashes) == [
        "left_out.parquet",
        "pack.json",
        "text.parquet",
        "tiles.parquet",
        "tokenizer.json",
    ]
    for name in ("tiles.parquet", "left_out.parquet", "text.parquet", "tokenizer.json"):
        assert hashes[name] == bytes_of(two)[name]
    assert json.loads((one / "pack.json").read_text())["files"]["tiles.parquet"] == hashes["tiles.parquet"]


def test_one_tile_a_series_is_its_middle_slice_along_the_normal(tmp_path: Path) -> None:
    made = ct("s", n=7)
    pack = open_pack(build_pack(lake_with(tmp_path, made), COHORT, RECIPE))
    facts = pack.tiles.facts.to_pylist()[0]
    assert facts["instance_id"] == an_id("s/3")
    assert facts["pixel_sha256"] == frames.encode(made.images[3]).pixel_sha256
    assert (facts["window_low"], facts["window_high"]) == (-1350.0, 150.0)  # the lung window of a chest CT


def test_slices_are_taken_evenly_from_a_tenth_to_nine_tenths() -> None:
    stack = instances_of(ct("s", n=21))
    rows = [dataclasses.asdict(i) for i in stack]
    picked = pick_frames(rows[::-1], 5)
    assert [r["instance_id"] for r, _ in picked] == [an_id(f"s/{i}") for i in (2, 6, 10, 14, 18)]
    cine = dataclasses.asdict(instances_of(ct("c", n=30, is_cine=True))[0])
    assert [i for _, i in pick_frames([cine], 3)] == [3, 15, 26]
    assert [i for _, i in pick_frames([cine | {"n_frames": 1}], 2)] == [0, 0]
    assert pick_frames([cine | {"n_frames": 0}], 2) == []


def test_monochrome1_is_inverted_in_the_tile_and_said_to_be(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(64, dtype="u2") * 60, (64, 1))
    xray = {"modality": "DX", "kind": "pa", "rescale": None}
    lake = lake_with(
        tmp_path, Made("plain", [ramp], **xray), Made("inverted", [ramp], photometric="MONOCHROME1", **xray)
    )
    pack = open_pack(build_pack(lake, COHORT, RECIPE))
    plain, inverted = pack.tiles[0]
    assert pack.tiles.facts.column("is_inverted").to_pylist() == [False, True]
    assert plain[16, 2] < 20 < 235 < plain[16, 29]
    assert np.abs(255 - inverted.astype(int) - plain).max() <= 1


def test_colour_becomes_luminance_and_the_rest_of_the_square_is_black(tmp_path: Path) -> None:
    image = np.zeros((20, 40, 3), dtype=np.uint8)
    image[..., 1] = 200
    made = Made("us", [image] * 4, "US", "b_mode", None, "RGB", is_cine=True, rescale=None)
    pack = open_pack(build_pack(lake_with(tmp_path, made), COHORT, RECIPE))
    tile = pack.tiles[0][0]
    facts = pack.tiles.facts.to_pylist()[0]
    assert (facts["pad_top"], facts["pad_left"], facts["scale"]) == (8, 0, 0.8)
    assert facts["frame_index"] == 2
    assert (tile[8:24] == 117).all()  # 0.587 * 200
    assert not tile[:8].any()
    assert not tile[24:].any()


def test_a_palette_image_shows_its_colours_not_its_indices(tmp_path: Path) -> None:
    from tests.curation.pixel_source import clean_of, file_of

    indices = np.tile(np.array([0, 1], dtype=np.uint8), (32, 16))
    table = np.array([250, 10], dtype=np.uint8).tobytes()
    luts = {f"{c}PaletteColorLookupTable{k}": v for c in ("Red", "Green", "Blue")
            for k, v in (("Descriptor", [2, 0, 8]), ("Data", table))}  # fmt: skip
    header = {
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PhotometricInterpretation": "PALETTE COLOR",
        **luts,
    }
    found = clean_of(file_of(indices, **header))
    assert found is not None
    palette = frames.read_palette(_header_with_luts(found[1]))
    assert palette.tolist() == [[250] * 3, [10] * 3]


def _header_with_luts(dataset: Any) -> bytes:
    from tests.curation import pixel_source

    del dataset.PixelData
    return pixel_source._bytes_of(dataset)


def damaged(*names: str) -> Any:
    """frames.encode, but the payloads of these images are cut in half."""
    whole = frames.encode
    bad = {image.tobytes() for name in names for image in ct(name).images}

    def half(image: np.ndarray) -> frames.Payload:
        payload = whole(image)
        is_bad = image.tobytes() in bad
        return dataclasses.replace(
            payload, payload=payload.payload[: len(payload.payload) // 2] if is_bad else payload.payload
        )

    return half


def test_a_series_that_cannot_be_read_is_left_out_and_the_rest_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "encode", damaged("broken"))
    series = [ct("a"), ct("broken"), ct("b"), dataclasses.replace(ct("none"), images=[]), ct("c"), ct("gone")]
    pack = open_pack(build_pack(lake_with(tmp_path, *series, without=5), COHORT, RECIPE))
    assert pack.left_out.to_pylist() == [
        {"member_index": 1, "series_id": an_id("broken"), "reason": "decoder_failed"},
        {"member_index": 3, "series_id": an_id("none"), "reason": "no_frames"},
        {"member_index": 5, "series_id": an_id("gone"), "reason": "frame_missing"},
    ]
    assert pack.facts["left_out"] == {"decoder_failed": 1, "frame_missing": 1, "no_frames": 1}
    assert pack.tiles.facts["member_index"].to_pylist() == [0, 2, 4]
    assert pack.tiles.facts["series_id"].to_pylist() == [an_id(name) for name in "abc"]
    assert (pack.n_members, pack.facts["n_tiles"], len(pack.tiles[0])) == (6, 3, 3)
    alone = build_pack(lake_with(tmp_path / "alone", ct("b")), COHORT, RECIPE)
    assert (pack.tiles[0][1] == open_pack(alone).tiles[0][0]).all()


def test_who_is_left_out_outlives_a_killed_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curation import pack_build

    monkeypatch.setattr(pack_build, "CHUNK_MEMBERS", 1)
    monkeypatch.setattr(frames, "encode", damaged("broken"))
    lake = lake_with(tmp_path, ct("broken"), ct("a"))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_pack(lake, COHORT, RECIPE, progress=stop)
    assert open_pack(build_pack(lake, COHORT, RECIPE)).left_out["series_id"].to_pylist() == [an_id("broken")]


def test_a_pack_of_which_nothing_can_be_read_fails_and_names_the_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "encode", damaged("s", "t"))
    lake = lake_with(tmp_path, ct("s"), ct("t"))
    with pytest.raises(PackError, match="2 because a frame does not decode") as caught:
        build_pack(lake, COHORT, RECIPE)
    assert str(an_id("s")) in str(caught.value)
    assert not (lake.root / "cohorts" / COHORT / "packs" / pack_id_of(COHORT, RECIPE)).exists()


def test_every_row_names_the_frames_it_is_made_of_and_the_spacing_it_shows(tmp_path: Path) -> None:
    made = ct("s")
    pack = open_pack(build_pack(lake_with(tmp_path, made), COHORT, RECIPE))
    fact = pack.tiles.facts.to_pylist()[0]
    one = {name: fact[name] for name in ("instance_id", "frame_index", "pixel_sha256")}
    assert fact["frames"] == [one]
    assert fact["spacing_mm"] == [None, 0.7 * 2, 0.7 * 2]  # 64 px become 32
    assert fact["unit"] == "level"


def test_a_cohort_that_does_not_exist_is_an_error_that_names_the_remedy(tmp_path: Path) -> None:
    lake = lake_with(tmp_path, ct("s"))
    with pytest.raises(PackError, match="rwid cohort build"):
        build_pack(lake, "feedfeedfeedfeed", RECIPE)
    with pytest.raises(PackError, match="no whole pack"):
        open_pack(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError):
        PackRecipe(size=1)


KILLED = """
import os, signal, sys
from pathlib import Path
from curation import pack, pack_build
from curation.lake import Lake
pack_build.CHUNK_MEMBERS = 3
def stop(done, total):
    if done >= 9:
        os.kill(os.getpid(), signal.SIGKILL)
pack.build_pack(Lake(Path(sys.argv[1])), sys.argv[2], pack.PackRecipe(size=32), progress=stop, workers=1)
"""


def test_a_killed_build_goes_on_where_it_was_and_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curation import pack_build

    series = [ct(f"s{i}", n=3) for i in range(20)]
    lake = lake_with(tmp_path / "a", *series)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(lake.root), COHORT], check=False)
    assert killed.returncode == -signal.SIGKILL
    place = lake.root / "cohorts" / COHORT / "packs" / pack_id_of(COHORT, RECIPE)
    assert not place.exists()
    chunks = {p: p.stat().st_mtime_ns for p in place.parent.glob(".building-*/chunk-*.parquet")}
    assert len(chunks) == 3

    monkeypatch.setattr(pack_build, "CHUNK_MEMBERS", 3)
    kept: list[int] = []

    def look(done: int, total: int) -> None:
        kept.append(sum(p.exists() and p.stat().st_mtime_ns == t for p, t in chunks.items()))

    resumed = build_pack(lake, COHORT, RECIPE, progress=look)
    assert set(kept) == {3}  # what was done was not done again
    monkeypatch.setattr(pack_build, "CHUNK_MEMBERS", 512)
    other = build_pack(lake_with(tmp_path / "b", *series), COHORT, RECIPE)
    assert bytes_of(resumed)["tiles.parquet"] == bytes_of(other)["tiles.parquet"]
    assert [p.name for p in place.parent.iterdir()] == [place.name]  # nothing left over


def test_a_built_pack_is_not_built_again(tmp_path: Path) -> None:
    lake = lake_with(tmp_path, ct("s"))
    first = build_pack(lake, COHORT, RECIPE)
    written = os.stat(first / "tiles.parquet").st_mtime_ns
    assert build_pack(lake, COHORT, RECIPE) == first
    assert os.stat(first / "tiles.parquet").st_mtime_ns == written


def test_report_tokens_give_back_the_text_and_its_sections(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    texts = [
        "Befund: kleiner Rundherd links. Beurteilung: Kontrolle.",
        "Findings: no effusion. Impression: normal.",
    ]
    series = [ct(f"s{i}", report=text) for i, text in enumerate(texts)]
    pack = open_pack(build_pack(lake_with(tmp_path, *series, ct("mute")), COHORT, RECIPE))
    assert pack.text is not None
    rows = pack.text.to_pylist()
    tokenizer = Tokenizer.from_file(str(pack.path / "tokenizer.json"))
    assert [r["study_id"] for r in rows] == [an_id("study s0"), an_id("study s1")]
    assert [tokenizer.decode(r["ids"]) for r in rows] == texts
    digest = hashlib.sha256((pack.path / "tokenizer.json").read_bytes()).hexdigest()
    assert {r["tokenizer_sha256"] for r in rows} == {digest} == {pack.facts["tokenizer_sha256"]}
    for r, text in zip(rows, texts, strict=True):
        section = r["sections"][0]
        covered = tokenizer.decode(r["ids"][section["start"] : section["end"]])
        assert text.startswith(covered)
        assert len(text) // 2 <= len(covered) < len(text)


def test_every_section_holds_its_words_and_no_token_of_another_one() -> None:
    from tokenizers import Tokenizer

    from curation.vocabulary import tokenize, train_tokenizer

    parts = {
        "findings": "Findings: größer Rundherd à gauche.\n",
        "impression": "Impression: 結節 8 mm.\n",
        "advice": "CT.",
    }
    text, sections, at = "".join(parts.values()), [], 0
    for name, words in parts.items():
        sections.append({"name": name, "start": at, "end": at + len(words)})
        at += len(words)
    given = Tokenizer.from_str(train_tokenizer([text] * 3))
    given.enable_truncation(4)
    given.enable_padding(length=64)
    long, short = tokenize(given.to_str(), [text, "CT."], [sections, []])
    assert given.decode(long.ids) == text and given.decode(short.ids) == "CT."
    shown = [given.decode(long.ids[s["start"] : s["end"]]) for s in long.sections]
    assert shown == list(parts.values())
    edges = [(s["start"], s["end"]) for s in long.sections]
    assert [e for pair in edges for e in pair] == sorted(e for pair in edges for e in pair)


def test_the_tokenizer_learns_from_the_training_split_alone(tmp_path: Path) -> None:
    learned = ct("a", report="pneumothorax pneumothorax pneumothorax")
    unseen = ct("b", report="cardiomegaly cardiomegaly cardiomegaly", split="test")
    pack = build_pack(lake_with(tmp_path, learned, unseen), COHORT, RECIPE)
    vocabulary = json.loads((pack / "tokenizer.json").read_text())["model"]["vocab"]
    assert "pneumothorax" in vocabulary
    assert not any(word.startswith("card") for word in vocabulary)


def test_a_tokenizer_that_is_given_is_used_and_its_content_names_the_pack(tmp_path: Path) -> None:
    from curation.vocabulary import train_tokenizer

    given = tmp_path / "mine.json"
    given.write_text(train_tokenizer(["aorta aorta aorta"]))
    lake = lake_with(tmp_path, ct("s", report="aorta normal"))
    recipe = dataclasses.replace(RECIPE, tokenizer=str(given))
    pack = build_pack(lake, COHORT, recipe)
    assert pack.name == pack_id_of(COHORT, recipe, given.read_text()) != pack_id_of(COHORT, RECIPE)
    assert (pack / "tokenizer.json").read_text() == given.read_text()
    assert str(tmp_path) not in (pack / "pack.json").read_text()
    given.write_text("{}")
    with pytest.raises(ConfigurationError, match="no tokenizer file"):
        build_pack(lake, COHORT, recipe)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        build_pack(lake, COHORT, dataclasses.replace(RECIPE, tokenizer=str(tmp_path / "none.json")))


def test_a_pack_without_text_has_none(tmp_path: Path) -> None:
    pack = build_pack(lake_with(tmp_path, ct("s")), COHORT, dataclasses.replace(RECIPE, text=False))
    assert open_pack(pack).text is None
    assert sorted(p.name for p in pack.iterdir()) == ["left_out.parquet", "pack.json", "tiles.parquet"]


def test_shrinking_keeps_the_mean_and_growing_stays_in_range() -> None:
    values = np.random.default_rng(2).uniform(0, 255, (50, 37))
    small = resample(resample(values, 13, axis=0), 11, axis=1)
    assert small.shape == (13, 11)
    assert small.mean() == pytest.approx(values.mean(), abs=1e-9)
    assert np.allclose(resample(values[:48], 12, axis=0), values[:48].reshape(12, 4, 37).mean(axis=1))
    large = resample(values, 120, axis=0)
    assert values.min() - 1e-9 <= large.min() <= large.max() <= values.max() + 1e-9
    assert np.allclose(resample(np.full((1, 5), 9.0), 4, axis=0), 9.0)
    assert letterbox(np.full((3, 300), 99.0), 32)[0].shape == (32, 32)


def test_a_frame_is_decoded_smaller_only_where_the_tile_still_is() -> None:
    assert reduction(512, 512, 224) == 0
    assert reduction(2140, 1760, 224) == 2
    assert reduction(2140, 1760, 518) == 1
    assert reduction(100, 100, 224) == 0
