"""`autoopt remeasure`: bundles measured again where they are to be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from autoopt.errors import NothingFits


def remeasure(
    bundles: Annotated[list[Path], typer.Argument(help="Folders of bundles of one workload.", metavar="BUNDLE...")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure bundles again, on this host or with other versions: which of them stay, which promises are broken."""
    from autoopt import api, progress
    from autoopt.deploy.remeasure import in_words

    with progress.StageLine() as line:
        found = api.remeasure(bundles, on_stage=line)
    if as_json:
        typer.echo(json.dumps([item.to_json() for item in found], indent=2))
    else:
        typer.echo("\n".join(in_words(found)))
    if not any(item.stays for item in found):
        raise typer.Exit(NothingFits.exit_code)
