"""`autoopt diff`: two stored trials held against each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from autoopt.commands.shared import Home, Storage, Study
from autoopt.errors import UsageError
from autoopt.study.request import HOME

HELP = "A trial's number, STUDY/NUMBER, or HOME/STUDY/NUMBER of another home folder."


def diff(
    before: Annotated[str, typer.Argument(metavar="TRIAL", help=HELP)],
    after: Annotated[str, typer.Argument(metavar="TRIAL", help="The other trial, named likewise.")],
    study: Study = None,
    storage: Storage = None,
    home: Home = HOME,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the scores of all cases in both to this file.")] = None,
) -> None:
    """Say what changes from one stored trial to another: settings, speed, quality case by case. Runs nothing."""
    from autoopt import api
    from autoopt.core.store import write_atomic
    from autoopt.report.trial_diff_text import cases_csv, diff_json, diff_text

    if csv is not None and (csv.is_dir() or not csv.parent.is_dir()):
        raise UsageError(f"--csv must be a file in a folder that is there, got {csv}")
    found = api.diff(before, after, study=study, storage=storage, home=home)
    if csv is not None:
        write_atomic(csv, cases_csv(found).encode())
    typer.echo(json.dumps(diff_json(found), indent=2) if as_json else "\n".join(diff_text(found)))
