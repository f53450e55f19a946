"""The commands. The one place that prints and exits; everything they do is a call of api.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoopt.errors import AutooptError, UsageError

if TYPE_CHECKING:
    from autoopt.loop import SearchResult

app = typer.Typer(
    help="Search the compression configurations of a medical-imaging model on the hardware that will run it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich alone takes longer to import than the rest of --help
    context_settings={"help_option_names": ["-h", "--help"]},
)

Home = Annotated[Path, typer.Option(help="Folder of all state: studies, MLflow, artifacts, weights.")]
Storage = Annotated[str | None, typer.Option(help="Study storage URL. [default: sqlite in the home folder]")]
Study = Annotated[str | None, typer.Option(help="Name of the study. [default: made from what is searched]")]
WorkloadName = Annotated[str, typer.Option(help="A built-in name, file.py:function or package.module:function.")]
Data = Annotated[Path | None, typer.Option(help="Data folder. [default: the workload's demo data]")]
Weights = Annotated[
    Path | None, typer.Option(help="Trained weights. [default: what `autoopt train` stored for this data]")
]
SpaceName = Annotated[str | None, typer.Option(help="A shipped space or a YAML file. [default: the workload's own]")]
Objectives = Annotated[str, typer.Option(help="Comma-separated: latency, quality, memory, size.")]
Budget = Annotated[int, typer.Option(help="Trials of the study, all in all.")]
Seed = Annotated[int, typer.Option(help="Seed of the sampler; another seed is another study.")]
Trial = Annotated[str, typer.Argument(help="A trial's number, or STUDY/NUMBER.")]


@app.command()
def search(
    workload: WorkloadName = "histo",
    budget: Budget = 50,
    time: Annotated[str | None, typer.Option(help="Stop after this long, such as 30m or 2h.")] = None,
    data: Data = None,
    weights: Weights = None,
    space: SpaceName = None,
    objectives: Objectives = "latency,quality",
    max_drop: Annotated[float, typer.Option(help="Largest loss of the primary metric a trial may have.")] = 0.01,
    max_latency: Annotated[str | None, typer.Option(help="Largest p25 latency, such as 20ms.")] = None,
    study: Study = None,
    storage: Storage = None,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow. [default: sqlite in the home folder]")] = None,
    seed: Seed = 0,
    home: Home = Path("mlruns"),
) -> None:
    """Try configurations, measure each one here, and show the Pareto front. Continues where it stopped."""
    from autoopt import api, show

    with show.SearchBar() as bar:
        result = api.search(
            workload, budget=budget, time_s=_duration(time, "--time"), data=data, weights=weights, space=space,
            objectives=_names(objectives), max_drop=max_drop, max_latency_s=_duration(max_latency, "--max-latency"),
            study=study, storage=storage, tracking_uri=tracking_uri, seed=seed, home=home, listener=bar,
        )  # fmt: skip
    show.search_result(result, home=home, storage=storage, tracking_uri=tracking_uri)
    _exit_if_nothing_fits(result)


@app.command()
def plan(
    workload: WorkloadName = "histo",
    budget: Budget = 50,
    time: Annotated[str | None, typer.Option(help="Accepted so that the line of a search fits; not used.")] = None,
    data: Data = None,
    weights: Weights = None,
    space: SpaceName = None,
    objectives: Objectives = "latency,quality",
    max_drop: Annotated[float, typer.Option(help="Accepted so that the line of a search fits; not used.")] = 0.01,
    max_latency: Annotated[str | None, typer.Option(help="Accepted likewise; not used.")] = None,
    study: Study = None,
    storage: Storage = None,
    tracking_uri: Annotated[str | None, typer.Option(help="Accepted likewise; not used.")] = None,
    seed: Seed = 0,
    home: Home = Path("mlruns"),
) -> None:
    """Say what a search would do and cost, without doing it."""
    from autoopt import api, show

    planned = api.plan(
        workload, budget=budget, data=data, weights=weights, space=space, objectives=_names(objectives),
        study=study, storage=storage, seed=seed, home=home,
    )  # fmt: skip
    show.plan(planned)


@app.command()
def front(
    workload: Annotated[
        str | None, typer.Option(help="The last study of this workload. [default: the last one]")
    ] = None,
    study: Study = None,
    storage: Storage = None,
    home: Home = Path("mlruns"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show the Pareto front of a study."""
    from autoopt import api, show
    from autoopt.tracking.front import front_csv, front_json

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other: give one of them")
    result = api.front(study=study, workload=workload, storage=storage, home=home)
    if as_json:
        typer.echo(json.dumps(front_json(result), indent=2))
    elif as_csv:
        typer.echo(front_csv(result), nl=False)
    else:
        show.front(result)


@app.command()
def replay(trial: Trial, study: Study = None, storage: Storage = None, home: Home = Path("mlruns")) -> None:
    """Run one stored trial again, alone, and show the difference."""
    from autoopt import api, show

    with show.StageLine() as line:
        replayed = api.replay(trial, study=study, storage=storage, home=home, on_stage=line)
    show.replay(replayed)


@app.command()
def pull(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write the bundle to.")],
    workload: Annotated[
        str | None, typer.Option(help="The last study of this workload. [default: the last one]")
    ] = None,
    max_latency: Annotated[str | None, typer.Option(help="Largest p25 latency, such as 10ms.")] = None,
    max_drop: Annotated[float | None, typer.Option(help="Largest loss of the primary metric.")] = None,
    pick: Annotated[str | None, typer.Option(help="fastest, balanced, best-quality or smallest.")] = None,
    study: Study = None,
    storage: Storage = None,
    home: Home = Path("mlruns"),
) -> None:
    """Write the best model of the front that keeps the limits, ready to deploy."""
    from autoopt import api

    folder, explanation = api.pull(
        out, workload=workload, study=study, max_latency_s=_duration(max_latency, "--max-latency"),
        max_drop=max_drop, pick=pick, storage=storage, home=home,
    )  # fmt: skip
    typer.echo(explanation)
    typer.echo(f"wrote {folder}: load it with autoopt.load({str(folder)!r})")


@app.command()
def train(
    workload: WorkloadName = "histo",
    data: Annotated[Path | None, typer.Option(help="Data folder.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Train on the embedded demo data.")] = False,
    time: Annotated[str | None, typer.Option(help="Stop after this long. [default: what the recipe says]")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, batches and augmentation.")] = 0,
    home: Home = Path("mlruns"),
) -> None:
    """Train the baseline of a workload and store its weights where a search finds them."""
    from autoopt import api, show

    if demo and data is not None:
        raise UsageError("--demo and --data exclude each other: give one of them")
    with show.TrainBar() as bar:
        trained = api.train(
            workload, data=data, demo=demo, home=home, seed=seed, max_seconds=_duration(time, "--time"), progress=bar
        )
    show.train_result(trained, workload=workload, data=data)


@app.command()
def doctor(storage: Storage = None, tracking_uri: Annotated[str | None, typer.Option(help="MLflow.")] = None,
           home: Home = Path("mlruns")) -> None:  # fmt: skip
    """Check this host: versions, runtimes, what the CPU can do, folders and servers."""
    from autoopt import doctor as checks
    from autoopt import show

    results = checks.checks(home, storage, tracking_uri)
    show.checks(results)
    if any(check.ok is False for check in results):
        raise typer.Exit(2)


@app.command()
def workloads() -> None:
    """List the built-in workloads."""
    from autoopt import show

    show.workloads()


@app.command()
def spaces() -> None:
    """List the shipped search spaces."""
    from autoopt import show

    show.spaces()


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from autoopt import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """The `autoopt` command: errors become one message and an exit code, never a traceback."""
    with _errors_as_messages():
        app()


@contextmanager
def _errors_as_messages() -> Iterator[None]:
    try:
        yield
    except AutooptError as error:
        for line in str(error).splitlines():
            typer.echo(f"autoopt: {line}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("autoopt: interrupted; the same command continues where this one stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)


def _exit_if_nothing_fits(result: SearchResult) -> None:
    if not result.front:
        raise typer.Exit(3)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def _duration(text: str | None, option: str) -> float | None:
    """`10ms`, `1.5s`, `30m` or `2h` in seconds. Raises UsageError for anything else, a bare number included."""
    if text is None:
        return None
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    try:
        return float(number) * _UNITS_S[text[len(number) :]]
    except (ValueError, KeyError):
        raise UsageError(
            f"{option} must be a number with a unit of {', '.join(_UNITS_S)}, such as 20ms, got {text!r}"
        ) from None


if __name__ == "__main__":
    main()
