"""`autoopt check`: whether a bundle is what it was, answers as it did and is as fast, where it is to be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from autoopt.errors import UsageError


def check(
    folder: Annotated[Path, typer.Argument(help="The folder of a bundle.", metavar="DIR")],
    verify: Annotated[
        Path | None, typer.Option(metavar="PUBKEY", help="It must be signed by the owner of this public key.")
    ] = None,
    gate: Annotated[
        float | None,
        typer.Option(metavar="RATIO", help="Fail where a call surely takes longer, and more than RATIO times as long."),
    ] = None,
    no_latency: Annotated[bool, typer.Option("--no-latency", help="Time nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a bundle on this host: files, signature, host, libraries, precision, golden answers, latency."""
    from autoopt import api, progress

    with progress.StageLine() as line:
        checked = api.check(folder, verify=verify, gate=gate, timed=not no_latency, on_stage=line)
    if as_json:
        typer.echo(json.dumps(checked.to_json(), indent=2))
    else:
        for finding in checked.findings:
            mark = "FAILED" if finding.matters else "differs" if finding.difference else "ok"
            typer.echo(f"{mark:8}{finding.about}: {finding.text}")
        typer.echo(
            f"{folder} passed" if checked.passed else f"{folder} did not pass: do not use it before that is understood"
        )
    if not checked.passed:
        raise typer.Exit(UsageError.exit_code)
