"""What assets are given: the home (settings and lake) and somewhere to tell progress.

What does not belong here: reading the environment (curation.settings does), or any work.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from curation.settings import Settings, load_settings, open_home

if TYPE_CHECKING:
    from curation.lake import Lake


class RwidHome(dg.ConfigurableResource):
    """One home: its settings and its lake. `home` empty means RWID_HOME, else ./rwid-home."""

    home: str = ""

    def settings(self) -> Settings:
        """The settings of the home, its folders made on first use. Raises ConfigurationError."""
        settings = load_settings(self.home or None)
        open_home(settings)
        return settings

    def lake(self) -> "Lake":
        """The de-identified side of the home."""
        from curation.lake import Lake  # pyarrow and DuckDB load with it: not when definitions do

        return Lake(self.settings().places.lake)


class Progress:
    """Where long work tells how far it is: nowhere, unless the command puts a bar in its place."""

    def __init__(
        self,
        items: Callable[[str, int, int], None] | None = None,
        report: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._items = items
        self._report = report

    def items(self, what: str, done: int, total: int) -> None:
        """Tells how many items of the step `what` are done, of how many; 0 where nobody knows yet."""
        if self._items is not None:
            self._items(what, done, total)

    def report(self, facts: Mapping[str, Any]) -> None:
        """Tells the facts a training process reports now and then, such as epoch and loss."""
        if self._report is not None:
            self._report(facts)
