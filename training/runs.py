"""Run folders: `lake/runs/<run_id>/`, what each file is called, how it is written so that a kill leaves it whole.

What belongs here: names, atomic writes, status with heartbeat, curves, reading runs back. What does not: what goes into
a report (report), tensors (checkpoint, export). Loads without torch: pages and the command read runs through this file.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.records import ConfigurationError, Run, to_table

STALE_AFTER_S = 120.0
"""A run that says `running` but has not beaten its heart for so long has been interrupted."""

SLOW_AFTER_S = 1800.0
"""The same where its process still lives on this machine: a step or a report on a busy one takes minutes."""

HISTORY = pa.schema(
    [
        ("step", pa.int64()),
        ("epoch", pa.int64()),
        ("name", pa.string()),
        ("value", pa.float64()),
        ("ts", pa.float64()),
        ("examples_per_s", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Status:
    """status.json: where a run stands. progress 0..1, eta and heartbeat in seconds (heartbeat since the epoch)."""

    status: str
    progress: float
    step: int
    eta_s: float | None
    message: str
    pid: int
    host: str
    heartbeat: float


class RunFolder:
    """The folder of one run."""

    def __init__(self, lake_root: Path, run_id: str) -> None:
        self.run_id = run_id
        self.path = lake_root / "runs" / run_id

    @property
    def checkpoints(self) -> Path:
        """Where the loop's state lies."""
        return self.path / "checkpoints"

    def write_json(self, name: str, content: Any) -> None:
        """Replaces a JSON file in one step."""
        self.write_bytes(name, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())

    def write_parquet(self, name: str, table: pa.Table) -> None:
        """Replaces a Parquet file in one step."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self.write_bytes(name, sink.getvalue().to_pybytes())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Replaces a file in one step: a reader sees the old or the new one, never half of one."""
        replace_file(self.path / name, content)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the run; None where it is not there yet."""
        path = self.path / name
        return dict(json.loads(path.read_text())) if path.is_file() else None

    def beat(
        self, status: str, *, progress: float, step: int, eta_s: float | None = None, message: str = ""
    ) -> None:
        """Writes status.json with a fresh heartbeat."""
        now = Status(
            status, round(progress, 4), step, eta_s, message, os.getpid(), socket.gethostname(), time.time()
        )
        replace_file(self.path / "status.json", json.dumps(asdict(now)).encode(), is_durable=False)

    def log(
        self, step: int, epoch: int, values: dict[str, float], examples_per_s: float | None = None
    ) -> None:
        """Appends one line a value to metrics.jsonl."""
        stamp = time.time()
        rows = [
            {
                "step": step,
                "epoch": epoch,
                "name": n,
                "value": v,
                "ts": stamp,
                "examples_per_s": examples_per_s,
            }
            for n, v in values.items()
        ]
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))

    def history(self) -> pa.Table:
        """The curves, one row a value, by name and step; where a resumed run repeated a step, the later line counts."""
        path = self.path / "metrics.jsonl"
        rows: dict[tuple[str, int], dict[str, Any]] = {}
        for line in path.read_text().splitlines() if path.is_file() else ():
            try:
                row = json.loads(line)
            except ValueError:  # a kill in mid-line leaves one torn line
                continue
            rows[(row["name"], row["step"])] = row
        return pa.Table.from_pylist([rows[key] for key in sorted(rows)], schema=HISTORY)

    def write_run(self, run: Run) -> None:
        """Replaces run.parquet, the row of the `runs` table."""
        self.write_parquet("run.parquet", to_table(Run, [run]))


def replace_file(path: Path, content: bytes, *, is_durable: bool = True) -> None:
    """Writes aside, syncs where asked, renames over. The folder is made where missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            if is_durable:
                os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read_run(lake_root: Path, run_id: str) -> dict[str, Any]:
    """One run: run_id, name, cohort_id, status, progress, step, eta_s, message, spec, report and the row of `runs`.

    `status` is `queued` where the spec is placed and nobody has begun, `interrupted` where the run says running but
    its heart has stopped. Raises ConfigurationError where
    there is no such run.
    """
    folder = RunFolder(lake_root, run_id)
    spec = folder.read_json("spec.json")
    if spec is None:
        raise ConfigurationError(f"No run {run_id!r} in this lake; rwid runs lists them.")
    status = folder.read_json("status.json") or asdict(
        Status("running", 0.0, 0, None, "starting", 0, "", 0.0)
    )
    run_file = folder.path / "run.parquet"
    row = pq.read_table(run_file).to_pylist()[0] if run_file.is_file() else {}
    state = status["status"]
    return {
        **row,
        **status,
        "run_id": run_id,
        "name": spec.get("name"),
        "status": "interrupted" if state == "running" and _has_stopped(status) else state,
        "spec": spec,
        "report": folder.read_json("report.json"),
        "path": folder.path,
    }


def list_runs(lake_root: Path) -> list[dict[str, Any]]:
    """Every run as `read_run`, newest first."""
    ids = [path.parent.name for path in (lake_root / "runs").glob("*/spec.json")]
    oldest = datetime.fromtimestamp(0, UTC)
    return sorted(
        (read_run(lake_root, i) for i in ids), key=lambda r: r.get("started_at_utc") or oldest, reverse=True
    )


def _has_stopped(status: dict[str, Any]) -> bool:
    age_s = time.time() - float(status["heartbeat"])
    is_here = status.get("host") == socket.gethostname()
    if age_s > (SLOW_AFTER_S if is_here else STALE_AFTER_S):
        return True
    if not is_here:
        return False
    try:
        os.kill(int(status["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
