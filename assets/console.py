"""How the command speaks: one JSON object or tables on standard output, everything else on standard error.

What belongs here: the session every subcommand gets, bars, tables. What does not: what is said (commands).
"""

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from curation.settings import Settings, load_settings

LINE_EVERY_S = 10.0
"""Where standard error is no terminal, long work writes one line that often."""
READABLE = 12
"""So many characters a column of a table ought to have."""


def _out() -> Console:
    # a pipe or a file has no width of its own: wide enough that ids stay whole
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=160)


@dataclass(frozen=True)
class Session:
    """One call of the command: its home, and how it answers."""

    home: Path | None = None
    is_json: bool = False
    err: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    out: Console = field(default_factory=_out)

    def settings(self) -> Settings:
        """The settings of the home asked for. Raises ConfigurationError."""
        return load_settings(self.home)

    def say(self, text: str) -> None:
        """Something to know meanwhile: standard error."""
        self.err.print(text, soft_wrap=True)

    def done(self, facts: Any, *shown: RenderableType) -> None:
        """The answer: `facts` as JSON where asked for, else what is shown."""
        if self.is_json:
            sys.stdout.write(json.dumps(facts, default=str, ensure_ascii=False) + "\n")
            return
        for one in shown:
            self.out.print(one)

    def bar(self) -> "Bar":
        """Progress of long work on standard error."""
        return Bar(self.err)


class Bar:
    """One line a step of long work: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._is_live = console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not self._is_live,
        )
        self._tasks: dict[str, TaskID] = {}
        self._told_at: dict[str, float] = {}

    def __enter__(self) -> "Bar":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def items(self, what: str, done: int, total: int, note: str = "") -> None:
        """Tells that `done` of `total` items of a step are done; total 0 where it is not known."""
        if self._is_live:
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what, note="")
            self._bars.update(self._tasks[what], completed=done, total=total or None, note=note)
            return
        now = time.monotonic()
        is_last = bool(total) and done >= total
        if is_last or now - self._told_at.setdefault(what, now) >= LINE_EVERY_S:
            self._told_at[what] = now if not is_last else float("inf")
            self._console.print(f"  {what} {done}{f' of {total}' if total else ''} {note}".rstrip())

    def tell(self, text: str) -> None:
        """A sentence among the bars."""
        self._console.print(text, soft_wrap=True)

    def report(self, facts: Mapping[str, Any]) -> None:
        """Tells where a training process stands."""
        if facts.get("kind") == "progress":
            note = f"{facts.get('stage', '')}" + (f" loss {facts['loss']:.3f}" if "loss" in facts else "")
            self.items("tune (%)", round(100 * float(facts.get("progress", 0))), 100, note)
        elif facts.get("kind") == "done":
            self.items("tune (%)", 100, 100, "done")
            self._told_at.pop("tune (%)", None)  # the next run of a ladder begins anew
            self._tasks.pop("tune (%)", None)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table for people; numbers to the right."""
    rows = [list(row) for row in rows]
    made = Table(title=title or None, title_justify="left", header_style="bold")
    for i, name in enumerate(columns):
        is_number = all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        made.add_column(name, justify="right" if rows and is_number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(told(value) for value in row))
    return made


def fitted(console: Console, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """The table; where so many columns do not fit the console's width, one line a value, row under row."""
    made = table("", columns, rows)
    wanted = console.measure(made, options=console.options.update(width=100_000)).maximum
    if wanted <= console.width or console.width >= READABLE * len(columns):
        return made
    tall = Table(show_header=False)
    tall.add_column(style="bold", no_wrap=True)
    tall.add_column(overflow="fold")
    for row in rows:
        for name, value in zip(columns, row, strict=True):
            tall.add_row(name, told(value))
        tall.add_section()
    return tall


def told(value: Any) -> str:
    """A value for people: thin thousands, three digits behind the point, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value)


def size(n_bytes: float) -> str:
    """Bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} TiB"
