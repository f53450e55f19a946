"""`autoopt register`: the front of a study into MLflow's model registry."""

from __future__ import annotations

from typing import Annotated

import typer

from autoopt.commands.shared import Home, OfWorkload, Storage, TrackingUri
from autoopt.study.request import HOME


def register(
    study: Annotated[str | None, typer.Argument(help="Name of the study. [default: the last one]")] = None,
    workload: OfWorkload = None,
    storage: Storage = None,
    tracking_uri: TrackingUri = None,
    home: Home = HOME,
) -> None:
    """Put the front of a study into MLflow's model registry, from where `pull` gets it anywhere."""
    from autoopt import api, progress

    with progress.StageLine() as line:
        done = api.register(
            study=study, workload=workload, storage=storage, tracking_uri=tracking_uri, home=home, on_stage=line
        )
    typer.echo(done.text)
