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
    workload: OfWorkload = None,
    storage: Storage = None,
    home: Home = HOME,
) -> None:
    """Write the report of a study, or compare two: one HTML file that opens anywhere, offline."""
    from autoopt import api
    from autoopt.core.store import write_atomic

    path = Path(out)
    if out != STDOUT and (path.is_dir() or not path.parent.is_dir()):
        raise UsageError(f"-o must be a file in a folder that is there, or -, got {out}")
    if against is not None and workload is not None:
        raise UsageError("--workload finds one study: leave it out where two are named")
    text = api.report(study=study, against=against, workload=workload, storage=storage, home=home)
    if out == STDOUT:
        typer.echo(text, nl=False)
        return
    written = text.encode()
    write_atomic(path, written)
    typer.echo(f"wrote {path} ({len(written) / 1e3:.0f} kB): open it in a browser")
