"""The supervised workers: one bad item costs one outcome, and nothing outlives the map."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from curation.engine import Crew, EngineError, map_items
from curation.records import ConfigurationError, Refused

LIMITS = {"workers": 2, "deadline_s": 20.0, "memory_mib": 400}


def misbehave(context: int, item: int | str) -> int:
    if item == "abort":
        os.abort()
    if item == "hang":
        while True:
            time.sleep(1)
    if item == "hog":
        return len(bytearray(4 * 2**30))
    if item == "raise":
        raise Refused("truncated")
    if item == "bug":
        raise KeyError("Doe^Jane")
    if item == "exit":
        raise SystemExit(3)
    if item == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    assert isinstance(item, int)
    return context + item


def test_one_abort_one_hang_one_hog_and_one_refusal_cost_no_neighbour() -> None:
    items: list[int | str] = list(range(96))
    for place, bad in ((10, "abort"), (30, "hang"), (50, "hog"), (70, "raise")):
        items.insert(place, bad)
    limits = {**LIMITS, "deadline_s": 2.0}
    outcomes = list(map_items(misbehave, items, **limits, initializer=int, initargs=("1000",)))
    assert [o.index for o in outcomes] == list(range(100))
    assert [o.value for o in outcomes if o.refused is None] == [1000 + n for n in range(96)]
    reasons = {items[o.index]: o.refused for o in outcomes if o.refused}
    assert reasons == {"abort": "decoder_failed", "hang": "timeout", "hog": "memory", "raise": "truncated"}


def test_an_unknown_exception_is_a_fault_that_tells_the_place_and_never_the_text() -> None:
    (bug, leave, good) = map_items(misbehave, ["bug", "exit", 1], **LIMITS, initializer=int, initargs=("0",))
    assert bug.refused == leave.refused == "internal_fault"
    assert bug.fault is not None
    assert bug.fault.startswith("KeyError at test_engine.py:")
    assert "Doe" not in bug.fault
    assert good.value == 1


def test_a_worker_killed_from_outside_counts_as_out_of_memory() -> None:
    outcomes = list(map_items(misbehave, ["killed", 5], **LIMITS, initializer=int, initargs=("0",)))
    assert [o.refused for o in outcomes] == ["memory", None]


def pid_of_worker(context: None, item: int) -> int:
    return os.getpid()


def test_workers_are_replaced_after_their_share_of_items() -> None:
    limits = {**LIMITS, "workers": 1}
    pids = [o.value for o in map_items(pid_of_worker, range(6), **limits, recycle_after=2)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5]


def test_items_are_taken_only_as_far_ahead_as_the_window() -> None:
    taken = []

    def items():
        for n in range(1000):
            taken.append(n)
            yield n

    outcomes = map_items(pid_of_worker, items(), **LIMITS)
    next(outcomes)
    assert len(taken) < 20
    outcomes.close()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_closing_early_leaves_no_worker_and_no_thread() -> None:
    outcomes = map_items(pid_of_worker, range(1000), **LIMITS)
    pids = {next(outcomes).value for _ in range(20)}
    del outcomes
    gc.collect()
    assert not any(is_alive(pid) for pid in pids)
    assert not [t for t in threading.enumerate() if t.name == "rwid-engine"]


def test_workers_die_with_a_killed_parent() -> None:
    script = """
        import sys
        from tests.curation.test_engine import map_items, say_pid_and_hang
        list(map_items(say_pid_and_hang, [sys.argv[1]], workers=1, deadline_s=60, memory_mib=400))
    """
    here = str(Path(__file__).parents[2])
    said = Path(os.environ.get("PYTEST_DEBUG_TEMPROOT", "/tmp")) / f"rwid-engine-{os.getpid()}"
    env = {**os.environ, "PYTHONPATH": here}
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), str(said)], env=env)
    try:
        while not said.exists() or not said.read_text():
            assert parent.poll() is None
            time.sleep(0.05)
        worker = int(said.read_text())
        parent.kill()
        parent.wait()
        for _ in range(100):
            if not is_alive(worker):
                break
            time.sleep(0.05)
        assert not is_alive(worker)
    finally:
        parent.kill()
        said.unlink(missing_ok=True)


def say_pid_and_hang(context: None, path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    time.sleep(600)


def run_in_daemon(pipe) -> None:
    pipe.send([o.value for o in map_items(misbehave, range(4), **LIMITS, initializer=int, initargs=("0",))])


def test_it_works_from_a_daemonic_process_and_from_a_thread() -> None:
    # Dagster runs a step in a child process of multiprocessing; a daemonic one may have no multiprocessing
    # children
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=run_in_daemon, args=(theirs,), daemon=True)
    process.start()
    assert ours.poll(60)
    assert ours.recv() == [0, 1, 2, 3]
    process.join()

    values: list[int] = []

    def take() -> None:
        outcomes = map_items(misbehave, range(4), **LIMITS, initializer=int, initargs=("0",))
        values.extend(o.value for o in outcomes if o.value is not None)

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    assert values == [0, 1, 2, 3]


def refuse_to_start() -> None:
    raise ConfigurationError("Set RWID_KEY_FILE.")


def break_at_start() -> None:
    raise ZeroDivisionError


def test_an_initializer_that_fails_raises_instead_of_refusing_every_item() -> None:
    with pytest.raises(ConfigurationError, match="RWID_KEY_FILE"):
        list(map_items(misbehave, [1, 2], **LIMITS, initializer=refuse_to_start))
    with pytest.raises(EngineError, match="ZeroDivisionError"):
        list(map_items(misbehave, [1, 2], **LIMITS, initializer=break_at_start))


def test_a_function_that_cannot_be_imported_is_said_so() -> None:
    with pytest.raises((EngineError, AttributeError)):
        list(map_items(lambda context, item: item, [1], **LIMITS))


def big(context: None, n: int) -> bytes:
    return bytes(n)


def test_results_of_many_megabytes_come_back_whole() -> None:
    (outcome,) = map_items(big, [50 * 2**20], **LIMITS)
    assert len(outcome.value) == 50 * 2**20


def test_a_result_too_large_to_send_is_refused_as_memory() -> None:
    (outcome, after) = map_items(big, [300 * 2**20, 3], **LIMITS)
    assert outcome.refused == "memory"
    assert after.value == bytes(3)


def test_no_items_start_no_worker() -> None:
    assert list(map_items(misbehave, [], **LIMITS)) == []


def made_by(context: tuple[int, str], item: int) -> tuple[int, str, int]:
    return (*context, item)


def make_once(word: str) -> tuple[int, str]:
    return (time.monotonic_ns(), word)


def test_a_crew_does_the_next_map_with_the_workers_and_the_context_of_the_last() -> None:
    limits = {**LIMITS, "workers": 1}
    with Crew(1) as crew:
        first, again, other = (
            [
                o.value
                for o in map_items(
                    made_by, range(3), **limits, initializer=make_once, initargs=(word,), crew=crew
                )
            ]
            for word in ("a", "a", "b")
        )
        pids = {
            o.value for fn in (pid_of_worker, pid_of_worker) for o in map_items(fn, [1], **limits, crew=crew)
        }
        assert all(is_alive(pid) for pid in pids)
    assert len({made for made, _, _ in first + again}) == 1
    assert [word for _, word, _ in other] == ["b"] * 3
    assert len(pids) == 1
    assert not any(is_alive(pid) for pid in pids)


def test_a_map_that_is_closed_early_leaves_its_crew_to_the_next() -> None:
    with Crew(2) as crew:
        outcomes = map_items(misbehave, range(100), **LIMITS, initializer=int, initargs=("0",), crew=crew)
        assert next(outcomes).value == 0
        outcomes.close()
        after = map_items(misbehave, ["abort", 1, 2], **LIMITS, initializer=int, initargs=("10",), crew=crew)
        assert [o.value for o in after] == [None, 11, 12]


def test_a_crew_whose_context_breaks_says_so_and_serves_the_next_map() -> None:
    with Crew(1) as crew:
        with pytest.raises(ConfigurationError, match="RWID_KEY_FILE"):
            list(map_items(misbehave, [1], **LIMITS, initializer=refuse_to_start, crew=crew))
        assert [o.value for o in map_items(pid_of_worker, [1], **LIMITS, crew=crew)] != [None]


def test_the_memory_of_an_item_is_limited_in_every_map_of_a_crew() -> None:
    with Crew(1) as crew:
        for word in ("1", "2"):
            given = map_items(misbehave, ["hog", 1], **LIMITS, initializer=int, initargs=(word,), crew=crew)
            assert [o.refused for o in given] == ["memory", None]
