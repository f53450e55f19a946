"""`autoopt fleet`: certificates, the hub where the machines of a fleet meet, and who is there."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from autoopt.errors import UsageError
from autoopt.options import duration

HUB = "tls://127.0.0.1:8786"

fleet = typer.Typer(
    help="Several machines for one study: make certificates, run the hub, say who is there.", no_args_is_help=True
)
CertsFolder = Annotated[Path, typer.Argument(metavar="CERTS", help="The folder of all certificates of the fleet.")]
Certs = Annotated[
    Path, typer.Option("--certs", metavar="DIR", help="The folder of this machine's role, of autoopt fleet init.")
]
Hub = Annotated[str, typer.Argument(metavar="HUB", help="Where autoopt fleet serve listens, such as tls://hub:8786.")]


@fleet.command()
def init(
    certs: Annotated[Path, typer.Argument(metavar="CERTS", help="The new folder to write.")],
    days: Annotated[int, typer.Option(help="How long the certificates are valid.")] = 30,
) -> None:
    """Make the certificates of a new fleet: its own authority, and a folder for each role."""
    from autoopt.fleet import certificates

    for folder in certificates.init(certs, days):
        typer.echo(f"wrote {folder}")
    typer.echo(f"valid for {days} days; keep {certs / certificates.AUTHORITY} to yourself: it lets others in")


@fleet.command()
def add(
    certs: CertsFolder,
    name: Annotated[str, typer.Argument(help="The name of the new folder, such as ward-3.")],
    role: Annotated[str, typer.Option(help="scheduler, builder, target or client.")] = "target",
) -> None:
    """Make one more certificate of a fleet, for a further machine; it ends with the others."""
    from autoopt.fleet import certificates

    typer.echo(f"wrote {certificates.add(certs, name, role)}")


@fleet.command()
def serve(
    certs: Certs,
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; only this machine can reach the default.")
    ] = HUB,
    lost_after: Annotated[
        str, typer.Option(metavar="DURATION", help="Take a member for gone that was not heard of for so long.")
    ] = "60s",
) -> None:
    """Run the hub of a fleet, where builders, targets and searches meet, until Ctrl-C."""
    from autoopt.fleet import hub
    from autoopt.fleet.address import Certificates, place_of

    lost_after_s = duration(lost_after, "--lost-after")
    assert lost_after_s is not None
    if lost_after_s < 5:
        raise UsageError(f"--lost-after must be at least 5s, members are heard of every 5 s, got {lost_after}")
    place = place_of(listen, "--listen")
    hub.serve(
        place,
        Certificates.read(certs),
        lost_after_s=lost_after_s,
        ready=lambda address: typer.echo(f"the hub of the fleet listens at {address} until Ctrl-C"),
        say=typer.echo,
    )


@fleet.command()
def status(
    hub: Hub,
    certs: Certs,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which builders and targets are in the fleet, what they are and what they do."""
    from autoopt.fleet.address import Certificates, place_of
    from autoopt.fleet.fleet import members
    from autoopt.terminal import fleet_table

    found = members(place_of(hub, "HUB"), Certificates.read(certs))
    if as_json:
        typer.echo(json.dumps([asdict(item) for item in found], indent=2))
    else:
        fleet_table.show(found)
