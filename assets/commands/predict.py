"""`rwid predict`: a finished run's model on DICOM."""

from pathlib import Path
from typing import Annotated

import typer

from assets.console import Session, table

DOCUMENTS = {"sr": "structured reports", "seg": "segmentations"}
"""Folder of DICOM that is written beside the predictions, and what lies in it."""


def predict(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="Id of a finished run, as rwid runs lists it.")],
    src: Annotated[Path, typer.Argument(help="A DICOM file, or a folder of them.")],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for predictions.parquet, refused.parquet and sr/, or seg/ where the run draws masks."
        ),
    ] = Path("predictions"),
    site: Annotated[
        str | None, typer.Option(help="Where SRC is from: its device regions and profile are used.")
    ] = None,
    no_sr: Annotated[
        bool, typer.Option("--no-sr", help="Parquet only, no DICOM structured reports.")
    ] = False,
) -> None:
    """Judge DICOM with a tuned model: predictions as Parquet and as DICOM SR (TID 1500) that points to its images.

    SRC is read the way a delivery is, in a private folder that is deleted in the end, so that a file gets the score
    it would get in the lake. Series of a modality or kind the run was not tuned on are counted, not judged; where none is
    left it ends with 2 and says why.

    The output names the source's UIDs, and each SR carries its patient: keep both where SRC may lie, not in the lake.

    Example: rwid predict 3f2a9c0d1e4b5a67 /data/new-studies --out /data/predictions
    """
    from training.predict import MEANINGS
    from training.predict import predict as judge

    session: Session = context.obj
    with session.bar() as bar:
        found = judge(
            session.settings(), run, src, out, site=site, with_reports=not no_sr, progress=bar.items
        )
    facts = {
        "run_id": found.run_id,
        "series": found.series,
        "documents": found.documents,
        "refused": dict(found.refused),
        "out": str(found.out),
    }
    made = [name for name in DOCUMENTS if (found.out / name).is_dir()]
    rows = [
        ["series judged", found.series, ""],
        [DOCUMENTS[made[0]] if made else "documents", found.documents, ""],
        *[[f"not judged: {why}", n, MEANINGS.get(why, "")] for why, n in found.refused.items()],
    ]
    session.done(
        facts,
        table("", ("what", "n", "meaning"), rows),
        f"Written to {found.out}: {', '.join(['predictions.parquet', 'refused.parquet', *(f'{name}/' for name in made)])}",
    )
