"""`autoopt training-study`: networks trained in several precisions, each way measured, with INT8 of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from autoopt.errors import NothingFits, UsageError
from autoopt.options import takes_request
from autoopt.study.request import SearchRequest

if TYPE_CHECKING:
    from autoopt.compress.training_study import TrainingStudy

Value = TypeVar("Value")


@takes_request("workload", "options", "home")
def training_study(
    request: SearchRequest,
    data: Annotated[Path | None, typer.Option(help="Data folder.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Train on the embedded demo data.")] = False,
    vary: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=A,B", help="An option of the workload with its values, such as net=vit,swin."),
    ] = None,
    arms: Annotated[str, typer.Option(help="Ways to train, by name.")] = "fp32,bf16,adam8,bf16-adam8,half,half-adam8",
    seeds: Annotated[str, typer.Option(help="Seeds of weights, batches and augmentation.")] = "1,10,100",
    steps: Annotated[int | None, typer.Option(help="Training steps of each row. [default: all of the recipe]")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of each training. [default: all cores]")] = None,
    country: Annotated[
        str | None, typer.Option(help="Three letters, such as DNK: estimate CO2 of measured joules (codecarbon).")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write all rows to this file.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write a picture of training time and quality to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train networks in several precisions: time, memory, energy and quality of each, then INT8 of each.

    A row is stored once it is known: the same command continues.
    """
    from autoopt.compress.training_study import COMPLETE, Row, StudyPlan
    from autoopt.compress.training_study import training_study as run
    from autoopt.report import training_text
    from autoopt.study.prepare import check_data_argument

    _check(data, {"--csv": csv, "--png": png}, demo=demo)
    plan = StudyPlan(
        workload=request.workload,
        data=None if demo else check_data_argument(data, needed_for=f"training {request.workload}"),
        options=request.options,
        vary=dict(_varied(item) for item in vary or ()),
        arms=_listed(arms, str, "--arms"),
        seeds=_listed(seeds, int, "--seeds"),
        steps=steps,
        country=country,
        threads=threads,
    )
    done = 0

    def tell(row: Row) -> None:
        nonlocal done
        done += 1
        typer.echo(f"{done}/{plan.count} {training_text.row_text(row)}", err=True)

    study = run(plan, request.home, on_row=tell)
    if as_json:
        typer.echo(json.dumps(training_text.as_json(study), indent=2))
    else:
        typer.echo("\n".join([training_text.as_markdown(study), *training_text.notes(study)]))
    _write(study, csv, png)
    if not any(row.status == COMPLETE for row in study.rows):
        raise typer.Exit(NothingFits.exit_code)


def _check(data: Path | None, files: Mapping[str, Path | None], *, demo: bool) -> None:
    """Raise UsageError for what cannot be together, or could not be written at the end."""
    problems = ["--demo and --data exclude each other: give one of them"] if demo and data is not None else []
    problems += [
        f"{option} must name a file in a folder that is there, {path.parent} is not"
        for option, path in files.items()
        if path is not None and not path.parent.is_dir()
    ]
    if problems:
        raise UsageError(*problems)


def _write(study: TrainingStudy, csv: Path | None, png: Path | None) -> None:
    """Write the files that were asked for."""
    from autoopt.core.store import write_atomic
    from autoopt.report.training_picture import training_picture
    from autoopt.report.training_text import as_csv

    if csv is not None:
        write_atomic(csv, as_csv(study).encode())
    if png is not None:
        write_atomic(png, training_picture(study))


def _varied(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, values = text.partition("=")
    found = _listed(values, str, "--vary")
    if not name or not found:
        raise UsageError(f"--vary must be an option with its values, such as net=vit,swin, got {text!r}")
    return name, found


def _listed(text: str, kind: Callable[[str], Value], option: str) -> tuple[Value, ...]:
    """The comma-separated values of an option, each once. Raises UsageError for one that cannot be read."""
    parts: Sequence[str] = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tuple(dict.fromkeys(kind(part) for part in parts))
    except ValueError as error:
        raise UsageError(f"{option} must be values separated by commas, got {text!r}") from error
