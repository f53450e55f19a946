"""`autoopt remeasure`: bundles, or the front of a study, measured again where they are to be used."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from autoopt.commands.shared import Home, Storage, TrackingUri
from autoopt.errors import NothingFits, UsageError
from autoopt.study.request import HOME


def remeasure(
    what: Annotated[
        list[str],
        typer.Argument(help="The name of a study, or folders of bundles of one workload.", metavar="STUDY|BUNDLE..."),
    ],
    storage: Storage = None,
    tracking_uri: TrackingUri = None,
    home: Home = HOME,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure again, on this host or with other versions: which models stay, which promises are broken.

    What is found of a study becomes a study of its own.
    """
    folders = [name for name in what if Path(name).is_dir() or os.sep in name]
    if (folders and len(folders) < len(what)) or (not folders and len(what) > 1):
        studies = ", ".join(name for name in what if name not in folders)
        raise UsageError(f"folders of bundles or the name of one study must be given; no folders are: {studies}")
    if folders:
        found, lines, stays = _bundles(folders)
    else:
        found, lines, stays = _study(what[0], storage, tracking_uri, home)
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(lines))
    if not stays:
        raise typer.Exit(NothingFits.exit_code)


def _bundles(folders: Sequence[str]) -> tuple[Any, list[str], bool]:
    """What was found as JSON and in words, and whether one of them stays."""
    from autoopt import api, progress
    from autoopt.deploy.remeasure import in_words

    with progress.StageLine() as line:
        found = api.remeasure([Path(name) for name in folders], on_stage=line)
    return [item.to_json() for item in found], in_words(found), any(item.stays for item in found)


def _study(name: str, storage: str | None, tracking_uri: str | None, home: Path) -> tuple[Any, list[str], bool]:
    from autoopt import api, progress
    from autoopt.report.again_text import again_text

    with progress.SearchBar() as bar:
        found = api.remeasure_study(name, storage=storage, tracking_uri=tracking_uri, home=home, listener=bar)
    return found.to_json(), again_text(found), any(member.stays for member in found.members)
