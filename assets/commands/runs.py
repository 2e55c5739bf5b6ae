"""`rwid runs`: the runs there are, and what one found out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from assets.console import Session, size, table, told

app = typer.Typer(
    help="Tuning runs: list them, show one, export its model.\n\nExample: rwid runs\n\nExample: rwid runs show 3f2a9c0d1e4b5a67",
    invoke_without_command=True,
    rich_markup_mode=None,
)

SAME = "Tuned and untuned answer alike: nothing learned did better on the tune split than the start, so the start was kept."
COLUMNS = ("run_id", "name", "cohort_id", "status", "method", "task", "device", "seconds", "verdict")


@app.callback()
def list_(context: typer.Context) -> None:
    """Tuning runs: list them (rwid runs), show one (rwid runs show ID).

    Example: rwid runs --json
    """
    if context.invoked_subcommand:
        return
    from training.runs import list_runs

    session: Session = context.obj
    found = []
    for run in list_runs(session.settings().places.lake):
        verdict = (run["report"] or {}).get("verdict")
        found.append(
            {name: run.get(name) for name in COLUMNS} | {"verdict": verdict, "progress": run.get("progress")}
        )
    rows = [[run[name] for name in COLUMNS] for run in found]
    none_yet = "No run yet. Tune one: rwid tune RECIPE --cohort NAME (recipes and keys: rwid tune --help)."
    session.done({"runs": found}, table("", COLUMNS, rows) if rows else none_yet)


@app.command("show")
def show(
    context: typer.Context, run_id: Annotated[str, typer.Argument(help="As rwid runs lists it.")]
) -> None:
    """One run: status, verdict and metrics, per site always.

    Example: rwid runs show 3f2a9c0d1e4b5a67
    """
    from assets.commands.tune import read

    session: Session = context.obj
    facts = read(session.settings().places.lake, run_id)
    session.done(facts, *shown_metrics(facts))


@app.command("export")
def export(
    context: typer.Context,
    run_id: Annotated[str, typer.Argument(help="As rwid runs lists it.")],
    out: Annotated[Path, typer.Argument(help="Folder to make; it must not be there.")],
    onnx: Annotated[
        bool,
        typer.Option(
            "--onnx", help="Besides, one ONNX graph from tiles to probabilities, checked against torch."
        ),
    ] = False,
) -> None:
    """A finished run as one folder that reloads anywhere: backbone, head, what moved, preprocessing, report.

    Every file stands with its hash in bundle.json; training.bundle.read_bundle refuses a folder in which one is missing,
    changed or foreign. It holds no patient's data.

    Example: rwid runs export 3f2a9c0d1e4b5a67 /data/nodule-model --onnx
    """
    from training.bundle import write_bundle

    session: Session = context.obj
    made = write_bundle(session.settings().places.lake, run_id, out, with_onnx=onnx)
    facts = {"run_id": run_id, "out": str(out), "bytes": made.bytes, "onnx_difference": made.onnx_difference}
    checked = (
        ""
        if made.onnx_difference is None
        else f" Logits of ONNX and torch differ by {made.onnx_difference:.1e} at most."
    )
    session.done(facts, f"Written to {out}: {size(made.bytes)}.{checked}")


def shown_metrics(facts: dict[str, Any]) -> list[Any]:
    """A run's headline metric per split and site, untuned beside tuned."""
    cells: dict[tuple[str, str, str], dict[str, Any]] = {}
    metric = facts["metric"]
    for row in facts["metrics"]:
        if row["name"] == metric:
            cells.setdefault((row["split"], row["site"], row["label"]), {})[row["arm"]] = row
    rows = [
        (
            split,
            site,
            label,
            *(_estimate(cell.get(arm)) for arm in ("untuned", "tuned", "gain")),
            _count(cell),
        )
        for (split, site, label), cell in cells.items()
    ]
    columns = ("split", "site", "label", "untuned", "tuned", "gain (95 % interval)", "studies")
    title = f"Run {facts['run_id']} ({facts['status']}): {metric.upper()}"
    gains = [row for row in facts["metrics"] if row["arm"] == "gain" and row["value"] is not None]
    is_start = bool(gains) and not any(row["value"] for row in gains)
    return [table(title, columns, rows), facts["verdict"] or "No verdict yet.", *([SAME] if is_start else [])]


def _estimate(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return told(None)
    if row["arm"] != "gain":
        return told(row["value"])
    if row["low"] is None:
        return f"{row['value']:+.3f}"
    return f"{row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"


def _count(cell: dict[str, Any]) -> int | None:
    return next((row["n"] for row in cell.values()), None)
