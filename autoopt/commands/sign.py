"""`autoopt sign`: a signature beside a bundle, which `check` and `load` verify with the public key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sign(
    folder: Annotated[Path, typer.Argument(help="The folder of a bundle.", metavar="DIR")],
    key: Annotated[
        Path, typer.Option(metavar="KEYFILE", help="Private Ed25519 key, PEM as openssl or OpenSSH writes.")
    ],
) -> None:
    """Sign a bundle with your own key, after every file was verified."""
    from autoopt import api

    typer.echo(f"wrote {api.sign(folder, key)}: verify it with autoopt check {folder} --verify PUBKEY")
