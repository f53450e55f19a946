"""`autoopt report`: what a study found as one HTML file to look at, to print, to pass on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoopt.commands.shared import Home, OfWorkload, Storage
from autoopt.errors import UsageError
from autoopt.study.request import HOME

STDOUT = "-"


def report(
    study: Annotated[
        str | None, typer.Argument(metavar="STUDY", help="The name of a study. [default: the last one]")
    ] = None,
    against: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY", help="Compare it with this one; HOME/STUDY names one of another home folder, of both."
        ),
    ] = None,
    out: Annotated[str, typer.Option("--out", "-o", help="File to write, - for standard output.")] = "report.html",
    images: Annotated[
        bool, typer.Option("--images", help="Show the worst cases as pictures of patients; demo data always are.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Profile the balanced member, as autoopt explain does, if not done yet.")
    ] = False,
    workload: OfWorkload = None,
    storage: Storage = None,
    home: Home = HOME,
) -> None:
    """Write the report of a study, or compare two: one HTML file that opens anywhere, offline."""
    from autoopt import api, progress
    from autoopt.core.store import write_atomic

    path = Path(out)
    if out != STDOUT and (path.is_dir() or not path.parent.is_dir()):
        raise UsageError(f"-o must be a file in a folder that is there, or -, got {out}")
    if against is not None and (workload is not None or images or profile):
        raise UsageError("--workload, --images and --profile are for one study: leave them out where two are named")
    with progress.StageLine() as line:
        text = api.report(
            study,
            against,
            home=home,
            workload=workload,
            storage=storage,
            images=images,
            profile=profile,
            on_stage=line,
        )
    if out == STDOUT:
        typer.echo(text, nl=False)
        return
    written = text.encode()
    write_atomic(path, written)
    typer.echo(f"wrote {path} ({len(written) / 1e3:.0f} kB): open it in a browser")
