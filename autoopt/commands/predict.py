"""`autoopt predict`: the answers of a bundle for image files and folders of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from autoopt.errors import UsageError


def predict(
    bundle: Annotated[Path, typer.Argument(help="The folder of a bundle.")],
    inputs: Annotated[list[Path], typer.Argument(help="Image files, and folders with all that is below them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write masks or predictions.csv to.")],
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also write a picture for people beside each mask.")
    ] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write the probabilities of all classes as .npz.")
    ] = False,
    mask_format: Annotated[
        str,
        typer.Option("--format", help="Masks of volumes: same as their images, or nifti."),
    ] = "same",
    series: Annotated[
        str | None,
        typer.Option("--series", help="Number, description or UID of the series in DICOM folders of several."),
    ] = None,
) -> None:
    """Predict images with a bundle: a mask for each, or one table of classes. Bad files are named, the others go on."""
    from autoopt import api, progress

    with progress.PredictBar() as bar:
        done = api.predict(
            bundle,
            inputs,
            out,
            overlay=overlay,
            probabilities=probabilities,
            mask_format=cast(Any, mask_format),  # predict_files says which there are
            series=series,
            listener=bar,
        )
    for remark in done.remarks:
        typer.echo(f"note: {remark}", err=True)
    total = len(done.written) + len(done.failed)
    others = f"; {done.others} other files were left out" if done.others else ""
    where = f", written to {done.out}" if done.written else ""
    typer.echo(f"{done.title}: {len(done.written)} of {total} images predicted{where}{others}")
    if done.failed:
        raise UsageError(f"{len(done.failed)} of {total} images failed, each is named above with its reason")
