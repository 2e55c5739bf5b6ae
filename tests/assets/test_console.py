"""What long work says where standard error is no terminal."""

import io

from rich.console import Console

from assets.console import Bar


def test_the_second_run_of_a_ladder_tells_its_progress_too() -> None:
    told = io.StringIO()
    with Bar(Console(file=told)) as bar:
        for _ in range(2):
            bar.report({"kind": "progress", "progress": 0.5, "stage": "tuning"})
            bar.report({"kind": "done"})
    assert told.getvalue().count("100 of 100 done") == 2
