"""`autoopt serve`: a bundle behind HTTP."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

import typer

LOOPBACK, PORT = "127.0.0.1", 8080


def serve(
    bundle: Annotated[Path, typer.Argument(help="The folder of a bundle.")],
    host: Annotated[
        str, typer.Option(help="The address to listen at; only this machine can ask the default.")
    ] = LOOPBACK,
    port: Annotated[int, typer.Option(help="The port to listen at; 0 for a free one.")] = PORT,
) -> None:
    """Serve a bundle by the Open Inference Protocol v2 over HTTP, with health and metrics, until Ctrl-C."""
    from autoopt.deploy.predictor import load
    from autoopt.deploy.served import served
    from autoopt.deploy.server import Server

    with load(bundle) as predictor:
        about = {"workload": str(predictor.info["workload"]), "demo": str(bool(predictor.info["demo"])).lower()}
        with Server(served(predictor), host, port, about) as server:
            shown = f"[{host}]" if ":" in host else host
            demo = " (demo data)" if predictor.info["demo"] else ""
            typer.echo(f"serving {', '.join(server.models)}{demo} at http://{shown}:{server.port} until Ctrl-C")
            if not is_loopback(host):
                typer.echo("note: whoever reaches this port may ask: there is no password and no TLS", err=True)
            server.serve_forever()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
