"""`autoopt pull`: the best model of a front as a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoopt.commands.shared import OF_SEARCH, Home, OfWorkload, Storage, Study
from autoopt.core.scratch import scratch_folder
from autoopt.errors import UsageError
from autoopt.options import duration, largest_drop, option, size_bytes
from autoopt.study.request import HOME


def pull(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write the bundle to.")],
    source: Annotated[
        str | None,
        typer.Argument(
            help="models:/NAME@ALIAS or models:/NAME/VERSION, or the folder or ZIP of a bundle. [default: by limits]"
        ),
    ] = None,
    workload: OfWorkload = None,
    max_latency: Annotated[str | None, option("max_latency_s", otherwise=OF_SEARCH)] = None,
    max_drop: Annotated[str | None, option("max_drop", otherwise=OF_SEARCH)] = None,
    max_memory: Annotated[str | None, option("max_memory_bytes", otherwise=OF_SEARCH)] = None,
    max_size: Annotated[str | None, option("max_size_bytes", otherwise=OF_SEARCH)] = None,
    min_quality: Annotated[float | None, option("min_quality", otherwise=OF_SEARCH)] = None,
    min_throughput: Annotated[float | None, option("min_throughput", otherwise=OF_SEARCH)] = None,
    pick: Annotated[str | None, typer.Option(help="fastest, balanced, best-quality or smallest.")] = None,
    host: Annotated[
        str | None, typer.Option(help="In a registry: the fingerprint of the host that measured. [default: this one]")
    ] = None,
    no_self_test: Annotated[
        bool,
        typer.Option("--no-self-test", help="Do not run it here: `autoopt check` has nothing to compare with then."),
    ] = False,
    layout: Annotated[
        str | None, typer.Option(help="Write the network as this server wants it instead of a bundle: ovms or triton.")
    ] = None,
    study: Study = None,
    storage: Storage = None,
    tracking_uri: Annotated[str | None, option("tracking_uri", otherwise="none: the studies of this machine")] = None,
    home: Home = HOME,
) -> None:
    """Write the best model that keeps the limits, ready to deploy: of a study, or of a registry anywhere."""
    from autoopt import api, progress
    from autoopt.deploy.server_layout import write_server_layout

    _check_layout(layout)
    with scratch_folder() as scratch, progress.StageLine() as line:
        folder, explanation = api.pull(
            out if layout is None else scratch / "bundle",
            source,
            workload=workload,
            study=study,
            max_latency_s=duration(max_latency, "--max-latency"),
            max_drop=largest_drop(max_drop, "--max-drop"),
            max_memory_bytes=None if max_memory is None else size_bytes(max_memory, "--max-memory"),
            max_size_bytes=None if max_size is None else size_bytes(max_size, "--max-size"),
            min_quality=min_quality,
            min_throughput=min_throughput,
            pick=pick,
            host=host,
            self_test=layout is None and not no_self_test,
            storage=storage,
            tracking_uri=tracking_uri,
            home=home,
            on_stage=line,
        )
        use = f"load it with autoopt.load({str(folder)!r})"
        if layout is not None:
            folder, use = write_server_layout(folder, out, layout), "the folder of models of a server"
    typer.echo(f"{explanation}\nwrote {folder}: {use}")


def _check_layout(layout: str | None) -> None:
    """Raise UsageError for a server that is not known."""
    from autoopt.deploy.server_layout import LAYOUTS

    if layout is not None and layout not in LAYOUTS:
        raise UsageError(f"--layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
