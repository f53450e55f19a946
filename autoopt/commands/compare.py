"""`autoopt compare`: which members of two fronts have a place on both, from what is stored."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from autoopt.commands.shared import Home, Storage
from autoopt.study.request import HOME

HELP = "The name of a study, or HOME/STUDY of another home folder."


def compare(
    first: Annotated[str, typer.Argument(metavar="STUDY", help=HELP)],
    second: Annotated[str, typer.Argument(metavar="STUDY", help="The other study, named likewise.")],
    storage: Storage = None,
    home: Home = HOME,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which members of the fronts of two targets stay on both. Runs nothing."""
    from autoopt import linked, terminal

    found = linked.compare(first, second, storage=storage, home=home)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2))
    else:
        terminal.both_fronts(found)
