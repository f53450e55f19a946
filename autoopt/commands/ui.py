"""`autoopt ui`: MLflow's pages of the studies, opened where the trade-offs are."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from autoopt.commands.shared import Home, TrackingUri
from autoopt.study.request import HOME

if TYPE_CHECKING:
    from autoopt.tracking.ready import Ready

SAY_AGAIN_S = 30.0


def ui(
    workload: Annotated[
        str | None, typer.Option(help="The studies of this workload. [default: the one searched last]")
    ] = None,
    tracking_uri: TrackingUri = None,
    home: Home = HOME,
    port: Annotated[int, typer.Option(help="The port to listen at; 0 for a free one.")] = 0,
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the addresses only, open no browser.")] = False,
) -> None:
    """Show the trials in MLflow's pages, for this machine only, until Ctrl-C; of a server open its pages."""
    from autoopt.tracking import default_tracking_uri
    from autoopt.tracking.ready import ready
    from autoopt.tracking.server import is_server
    from autoopt.tracking.ui_server import UiServer, prepare

    uri = tracking_uri or default_tracking_uri(home)
    if is_server(uri):
        show(ready(uri, workload), opens=not no_open)
        return
    prepare(uri, home)
    try:
        with UiServer(uri, home, port) as server:
            typer.echo("starting MLflow, which takes a minute on a busy machine ...")
            server.wait_ready(_patience())
            show(ready(server.url, workload), opens=not no_open)
            typer.echo("only this machine can open them; Ctrl-C ends MLflow and all it started")
            sys.stdout.flush()
            server.wait()
    except KeyboardInterrupt:  # also SIGTERM and SIGHUP: it was asked to end, and did
        typer.echo("MLflow was ended")


def show(pages: Ready, *, opens: bool, browse: Callable[[str], object] | None = None) -> None:
    """Print the addresses, and open the first in a browser where there is a display."""
    typer.echo(f"trials of {pages.workload}: {pages.table}")
    if pages.charts:
        typer.echo(f"as a chart: {pages.charts}")
    typer.echo(f"registered models: {pages.models}")
    sys.stdout.flush()
    if opens and has_display(os.environ, sys.platform):
        import webbrowser

        (webbrowser.open if browse is None else browse)(pages.table)


def has_display(environment: Mapping[str, str], platform: str) -> bool:
    """Whether a browser would open a window; without one it would take over the terminal."""
    return platform == "darwin" or bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def _patience() -> Callable[[], None]:
    """Says now and then how long MLflow has been waited for."""
    began = said = time.monotonic()

    def waits() -> None:
        nonlocal said
        if time.monotonic() - said >= SAY_AGAIN_S:
            said = time.monotonic()
            typer.echo(f"still starting ({said - began:.0f} s)")
            sys.stdout.flush()

    return waits
