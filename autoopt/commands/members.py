"""`autoopt builder serve` and `autoopt target serve`: this machine works for a fleet."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoopt.commands.fleet import Certs, Hub
from autoopt.study.request import HOME

if TYPE_CHECKING:
    from autoopt.fleet.agent import Work

builder = typer.Typer(help="This machine makes models for a fleet.", no_args_is_help=True)
Name = Annotated[
    str | None, typer.Option(metavar="NAME", help="What the fleet calls this machine. [default: its host name]")
]
Listen = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Where the fleet reaches this machine. [default: a free port at the address that leads to the hub]",
    ),
]
Files = Annotated[Path, typer.Option("--home", metavar="DIR", help="The folder for what is kept here.")]


@builder.command("serve")
def builder_serve(
    hub: Hub,
    certs: Certs,
    name: Name = None,
    listen: Listen = None,
    data: Annotated[
        Path | None, typer.Option(help="Where the data lie here. [default: the path that the search has]")
    ] = None,
    home: Files = HOME,
) -> None:
    """Make models for the searches of a fleet until Ctrl-C."""
    from autoopt.fleet.builder_work import BuilderWork

    _serve("builder", partial(BuilderWork, home, data), hub, certs, name, listen, home)


def target_serve(hub: Hub, certs: Certs, name: Name = None, listen: Listen = None, home: Files = HOME) -> None:
    """Measure for the searches of a fleet until Ctrl-C."""
    from autoopt.fleet.keeper_work import KeeperWork

    _serve("target", partial(KeeperWork, home), hub, certs, name, listen, home)


def _serve(
    role: str, begin: Callable[[], Work], hub: str, certs: Path, name: str | None, listen: str | None, home: Path
) -> None:
    from autoopt.fleet import member
    from autoopt.fleet.address import Certificates, place_of
    from autoopt.fleet.agent import Agent

    place, certificates = place_of(hub, "HUB"), Certificates.read(certs)
    called = member.check_name(name or f"{socket.gethostname().partition('.')[0]}-{role}")
    home.mkdir(parents=True, exist_ok=True)
    member.serve(
        place,
        certificates,
        Agent(called, role, home, begin),
        listen=None if listen is None else place_of(listen, "--listen"),
        ready=lambda address: typer.echo(f"{called} works as {role} for {place} at {address} until Ctrl-C"),
    )
