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
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="Ask the network at this server instead of running it here.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The network's name at the server. [default: that of `autoopt serve`]")
    ] = None,
    no_latency: Annotated[bool, typer.Option("--no-latency", help="Time nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a bundle on this host: files, signature, host, libraries, precision, golden answers, latency."""
    from autoopt import api, progress

    if (server is None and model is not None) or (server is not None and gate is not None):
        raise UsageError("--model needs --server, and --gate times calls here: --server and --gate exclude each other")
    with progress.StageLine() as line:
        checked = api.check(
            folder, verify=verify, gate=gate, timed=not no_latency, server=server, model=model, on_stage=line
        )
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
