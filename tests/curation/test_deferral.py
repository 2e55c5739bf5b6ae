"""Series whose pixels are looked at whole: nothing is lost, nothing is counted twice, one bad series harms no other."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from curation import delivery, frames, steps
from curation.deid import members
from curation.deid.header import Clean
from curation.deid.pixels import Box, Look, Member, Plan, Region
from curation.engine import Outcome
from curation.records import Refused
from curation.settings import Settings
from tests.curation.test_delivery import ingest, radiograph, rows, settings, src

__all__ = ["settings", "src"]

BOX = Region(Box(0, 0, 24, 4), "consensus")


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items in this process, so that what is decided of pixels can be replaced; ultrasound is looked at."""

    def inline(
        step: Callable[[Any, Any], Any],
        items: Iterable[Any],
        *,
        initializer: Callable[..., Any],
        initargs: Sequence[Any],
        **_: Any,
    ) -> Iterator[Outcome]:
        context = initializer(*initargs)
        for n, item in enumerate(items):
            try:
                yield Outcome(n, step(context, item), None)
            except (Refused, TimeoutError) as error:
                yield Outcome(n, None, error.reason if isinstance(error, Refused) else "timeout")

    def triage(clean: Clean, *_: Any) -> Plan | Look:
        return Look("burned_in") if b"US" in clean.header[:400] else Plan()

    def plan_series(series: Sequence[Member], *_: Any) -> Mapping[UUID, Plan | str]:
        plans: dict[UUID, Plan | str] = {}
        for member in series:
            values = member.frame(0)
            if values.max() == 4095:
                raise TimeoutError
            telling = "identity_suspected" if values.max() == 4094 else Plan((BOX,), is_cleaned=True)
            plans[member.clean.instance_id] = telling
        return plans

    monkeypatch.setattr(delivery, "map_items", inline)
    monkeypatch.setattr(steps, "triage", triage)
    monkeypatch.setattr(members, "plan_series", plan_series)


def ultrasound(path: Path, study: str, top: int = 4000) -> None:
    ds = radiograph(path, study=study)
    ds.Modality = "US"
    pixels = np.frombuffer(ds.PixelData, np.uint16) % 4000 + 1
    pixels[-1] = top
    ds.PixelData = pixels.tobytes()
    ds.save_as(path, enforce_file_format=True)


def test_looked_at_objects_become_rows_with_their_regions(settings: Settings, src: Path) -> None:
    radiograph(src / "a")
    for name in ("b", "c", "d"):
        ultrasound(src / name, "1.2.7")
    curated = ingest(settings, src)
    assert curated.instances == 4
    found = rows(settings, "SELECT modality, burned_in, len(burned_in_regions) FROM instances ORDER BY 1")
    assert found == [("CR", None, 0), *[("US", "NO", 1)] * 3]
    log = rows(settings, "SELECT regions[1].source, list_contains(actions, {'tag': '(7FE0,0010)', 'action': 'C'}) FROM deid_log ORDER BY 2")  # fmt: skip
    assert log == [(None, False), *[("consensus", True)] * 3]
    sql = "SELECT codec, payload FROM frames JOIN instances USING (instance_id) WHERE modality = 'US'"
    for codec, payload in rows(settings, sql):
        values = frames.decode(str(codec), bytes(payload))  # type: ignore[call-overload]
        assert (values[:4] == 0).all() and (values[4:] > 0).all()


def test_a_telling_object_is_withheld_and_its_series_is_not(settings: Settings, src: Path) -> None:
    ultrasound(src / "b", "1.2.7")
    ultrasound(src / "c", "1.2.7", top=4094)
    curated = ingest(settings, src)
    assert curated.instances == 1 and curated.refusals == {"identity_suspected": 1}
    assert rows(settings, "SELECT step FROM refusals") == [("pixels",)]


def test_a_series_that_times_out_withholds_its_own_files_only(settings: Settings, src: Path) -> None:
    for name in ("b", "c"):
        ultrasound(src / name, "1.2.7")
    for name, top in (("d", 4095), ("e", 4000)):
        ultrasound(src / name, "1.2.8", top)
    radiograph(src / "f")
    curated = ingest(settings, src)
    assert curated.instances == 3 and curated.refusals == {"timeout": 2}


def test_the_same_object_twice_in_a_series_is_one_row_and_one_duplicate(
    settings: Settings, src: Path
) -> None:
    ultrasound(src / "b", "1.2.7")
    (src / "c").write_bytes((src / "b").read_bytes())
    assert ingest(settings, src).refusals == {"duplicate": 1}
    changed = (src / "b").read_bytes()
    (src / "c").write_bytes(changed[:-1] + bytes([changed[-1] ^ 1]))
    curated = ingest(settings, src)
    assert curated.instances == 1 and curated.refusals == {"uid_conflict": 1}


def test_frames_of_a_long_series_are_read_again_and_not_kept(settings: Settings, src: Path) -> None:
    for n in range(2 * members.KEPT_FRAMES):
        ultrasound(src / f"{n}", "1.2.7")
    reads: list[int] = []
    real = frames.read_frame

    def counted(data: Any, clean: Clean, index: int) -> Any:
        reads.append(index)
        return real(data, clean, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "read_frame", counted)
        patch.setattr(members, "plan_series", _twice)
        assert ingest(settings, src).instances == 2 * members.KEPT_FRAMES
    assert len(reads) == 4 * members.KEPT_FRAMES


def _twice(series: Sequence[Member], *_: Any) -> Mapping[UUID, Plan | str]:
    for member in [*series, *series]:
        assert member.frame(0) is member.frame(0)
    return {m.clean.instance_id: Plan(is_cleaned=True) for m in series}
