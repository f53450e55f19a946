"""The commands. The one place that prints and exits; everything they do is a call of api.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoopt.errors import AutooptError, UsageError

if TYPE_CHECKING:
    from autoopt.core.configuration import Scalar
    from autoopt.measure.timing import Plan
    from autoopt.study.loop import SearchResult

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
Model = Annotated[
    str | None,
    typer.Option(help="Your model: an ONNX file, the folder of a MONAI bundle, or file.py:function that builds it."),
]
Task = Annotated[str | None, typer.Option(help="With --model: segmentation or classification.")]
Options = Annotated[
    list[str] | None, typer.Option("--option", help="NAME=VALUE, an option of the workload or model; may be repeated.")
]
TrustBundle = Annotated[
    bool, typer.Option("--trust-bundle", help="Let a MONAI bundle run any code that its configuration names.")
]
Data = Annotated[Path | None, typer.Option(help="Data folder. [default: the workload's demo data]")]
Weights = Annotated[
    Path | None, typer.Option(help="Trained weights. [default: what `autoopt train` stored for this data]")
]
SpaceName = Annotated[str | None, typer.Option(help="A shipped space or a YAML file. [default: the workload's own]")]
Objectives = Annotated[str, typer.Option(help="Comma-separated: latency, quality, memory, size.")]
Guards = Annotated[
    list[str] | None,
    typer.Option(
        "--guard",
        help="One more limit, NAME=FRACTION: worst_decile, subgroup:COLUMN (drops) or disagreement; may be repeated.",
    ),
]
Budget = Annotated[int, typer.Option(help="Trials of the study, all in all.")]
Seed = Annotated[int, typer.Option(help="Seed of the sampler; another seed is another study.")]
Trial = Annotated[str, typer.Argument(help="A trial's number, or STUDY/NUMBER.")]


@app.command()
def search(
    context: typer.Context,
    workload: WorkloadName = "histo",
    model: Model = None,
    task: Task = None,
    option: Options = None,
    trust_bundle: TrustBundle = False,
    budget: Budget = 50,
    time: Annotated[str | None, typer.Option(help="Stop after this long, such as 30m or 2h.")] = None,
    data: Data = None,
    weights: Weights = None,
    space: SpaceName = None,
    objectives: Objectives = "latency,quality",
    max_drop: Annotated[float, typer.Option(help="Largest loss of the primary metric a trial may have.")] = 0.01,
    max_latency: Annotated[str | None, typer.Option(help="Largest p25 latency, such as 20ms.")] = None,
    guard: Guards = None,
    study: Study = None,
    storage: Storage = None,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow. [default: sqlite in the home folder]")] = None,
    seed: Seed = 0,
    home: Home = Path("mlruns"),
) -> None:
    """Try configurations, measure each one here, and show the Pareto front. Continues where it stopped."""
    from autoopt import api, progress, terminal

    source, options = _source(workload, model, task, option, trust_bundle)
    with progress.SearchBar() as bar:
        result = api.search(
            source,
            options=options,
            budget=budget,
            time_s=_duration(time, "--time"),
            data=data,
            weights=weights,
            space=space,
            objectives=_names(objectives),
            max_drop=max_drop,
            max_latency_s=_duration(max_latency, "--max-latency"),
            guards=_guards(guard),
            study=study,
            storage=storage,
            tracking_uri=tracking_uri,
            seed=seed,
            home=home,
            listener=bar,
            plan=context.obj,
        )
    terminal.search_result(result, home=home, storage=storage, tracking_uri=tracking_uri)
    _exit_if_nothing_fits(result)


@app.command()
def plan(
    workload: WorkloadName = "histo",
    model: Model = None,
    task: Task = None,
    option: Options = None,
    trust_bundle: TrustBundle = False,
    budget: Budget = 50,
    time: Annotated[str | None, typer.Option(help="Accepted so that the line of a search fits; not used.")] = None,
    data: Data = None,
    weights: Weights = None,
    space: SpaceName = None,
    objectives: Objectives = "latency,quality",
    max_drop: Annotated[float, typer.Option(help="Accepted so that the line of a search fits; not used.")] = 0.01,
    max_latency: Annotated[str | None, typer.Option(help="Accepted likewise; not used.")] = None,
    guard: Annotated[list[str] | None, typer.Option(help="Accepted likewise; not used.")] = None,
    study: Study = None,
    storage: Storage = None,
    tracking_uri: Annotated[str | None, typer.Option(help="Accepted likewise; not used.")] = None,
    seed: Seed = 0,
    home: Home = Path("mlruns"),
) -> None:
    """Say what a search would do and cost, without doing it."""
    from autoopt import api, terminal

    source, options = _source(workload, model, task, option, trust_bundle)
    planned = api.plan(
        source,
        options=options,
        budget=budget,
        data=data,
        weights=weights,
        space=space,
        objectives=_names(objectives),
        study=study,
        storage=storage,
        seed=seed,
        home=home,
    )
    terminal.plan(planned)


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
    from autoopt import api, terminal
    from autoopt.report.tables import front_csv, front_json

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other: give one of them")
    result = api.front(study=study, workload=workload, storage=storage, home=home)
    if as_json:
        typer.echo(json.dumps(front_json(result), indent=2))
    elif as_csv:
        typer.echo(front_csv(result), nl=False)
    else:
        terminal.front(result)


@app.command()
def replay(trial: Trial, study: Study = None, storage: Storage = None, home: Home = Path("mlruns")) -> None:
    """Run one stored trial again, alone, and show the difference."""
    from autoopt import api, progress, terminal

    with progress.StageLine() as line:
        replayed = api.replay(trial, study=study, storage=storage, home=home, on_stage=line)
    terminal.replay(replayed)


@app.command()
def explain(
    trial: Trial,
    against: Annotated[
        str | None, typer.Option(help="The trial to compare with. [default: its float twin in the study]")
    ] = None,
    study: Study = None,
    storage: Storage = None,
    home: Home = Path("mlruns"),
    picture: Annotated[
        Path | None, typer.Option(help="PNG to write. [default: explain-TRIAL.png in the home folder]")
    ] = None,
) -> None:
    """Say why one stored trial is faster or slower than another: its layers, kernels, precisions, conversions."""
    from autoopt import api, progress, terminal
    from autoopt.core.store import write_atomic
    from autoopt.report.explain_picture import explain_picture

    if picture is not None and not picture.parent.is_dir():
        raise UsageError(f"--picture must name a file in a folder that is there, {picture.parent} is not")
    with progress.StageLine() as line:
        explained = api.explain(trial, against=against, study=study, storage=storage, home=home, on_stage=line)
    terminal.explanation(explained)
    file = picture or home / f"explain-{explained.trial.record.number}.png"
    write_atomic(file, explain_picture(explained))
    typer.echo(f"wrote {file}")


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
        out,
        workload=workload,
        study=study,
        max_latency_s=_duration(max_latency, "--max-latency"),
        max_drop=max_drop,
        pick=pick,
        storage=storage,
        home=home,
    )
    typer.echo(explanation)
    typer.echo(f"wrote {folder}: load it with autoopt.load({str(folder)!r})")


@app.command()
def sensitivity(
    workload: WorkloadName = "histo",
    model: Model = None,
    task: Task = None,
    option: Options = None,
    trust_bundle: TrustBundle = False,
    data: Data = None,
    weights: Weights = None,
    csv: Annotated[Path | None, typer.Option(help="Write the ranking to this file.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write a picture of it to this file.")] = None,
    home: Home = Path("mlruns"),
) -> None:
    """Rank groups of layers by what keeping them in float recovers for the time that it costs here."""
    from autoopt import api, progress, terminal
    from autoopt.core.store import write_atomic
    from autoopt.report import layer_ranking

    source, options = _source(workload, model, task, option, trust_bundle)
    _check_files({"--csv": csv, "--png": png})
    with progress.StageLine() as line:
        ranking = api.sensitivity(source, options=options, data=data, weights=weights, home=home, on_stage=line)
    terminal.ranking(ranking)
    if csv is not None:
        write_atomic(csv, layer_ranking.as_csv(ranking.ranks).encode())
    if png is not None:
        write_atomic(png, layer_ranking.ranking_picture(ranking))


@app.command()
def matrix(
    quick: Annotated[bool, typer.Option("--quick", help="One network of each family.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write all cells to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables to this file.")] = None,
    home: Annotated[Path | None, typer.Option(help="Keep what is made here. [default: a temporary folder]")] = None,
) -> None:
    """Try every compression on small random networks of every family in every runtime: works, or refused and why."""
    from autoopt import api, progress, terminal
    from autoopt.compress.matrix import count
    from autoopt.core.store import write_atomic
    from autoopt.measure.host import current_host
    from autoopt.report import matrix_text

    _check_files({"--csv": csv, "--markdown": markdown})
    with progress.MatrixBar(count(quick=quick)) as bar:
        cells = api.matrix(quick=quick, home=home, on_cell=bar)
    terminal.matrix(cells)
    if csv is not None:
        write_atomic(csv, matrix_text.as_csv(cells).encode())
    if markdown is not None:
        write_atomic(markdown, matrix_text.as_page(cells, current_host(), quick=quick).encode())


@app.command()
def train(
    workload: WorkloadName = "histo",
    model: Model = None,
    task: Task = None,
    option: Options = None,
    data: Annotated[Path | None, typer.Option(help="Data folder.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Train on the embedded demo data.")] = False,
    time: Annotated[str | None, typer.Option(help="Stop after this long. [default: what the recipe says]")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, batches and augmentation.")] = 0,
    home: Home = Path("mlruns"),
) -> None:
    """Train the baseline of a workload and store its weights where a search finds them."""
    from autoopt import api, progress, terminal

    if demo and data is not None:
        raise UsageError("--demo and --data exclude each other: give one of them")
    source, options = _source(workload, model, task, option)
    with progress.TrainBar() as bar:
        trained = api.train(
            source,
            options=options,
            data=data,
            demo=demo,
            home=home,
            seed=seed,
            max_seconds=_duration(time, "--time"),
            progress=bar,
        )
    terminal.train_result(trained, source=source, data=data, options=options)


@app.command()
def doctor(
    storage: Storage = None,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow.")] = None,
    noise: Annotated[
        bool, typer.Option("--noise", help="Measure how this host's latencies vary (A/A test) and its peaks; a minute.")
    ] = False,
    home: Home = Path("mlruns"),
) -> None:
    """Check this host: versions, runtimes, what the CPU can do, folders and servers."""
    from autoopt import doctor as checks
    from autoopt import terminal

    if noise:
        from autoopt import progress
        from autoopt.study.trial import noise_test

        with progress.StageLine() as line:
            terminal.noise(noise_test.calibrate(home, on_stage=line)[0])
    results = checks.checks(home, storage, tracking_uri)
    terminal.checks(results)
    if any(check.ok is False for check in results):
        raise typer.Exit(2)


@app.command()
def init(path: Annotated[Path, typer.Argument(help="The file to write, such as my_model.py.")]) -> None:
    """Write a workload of your own to start from: it runs as it is."""
    from autoopt.workloads.template import write_template

    write_template(path)
    typer.echo(f"wrote {path}; now: autoopt train --workload {path}:workload --demo")
    typer.echo(f"then: autoopt search --workload {path}:workload --space quick --budget 8")


@app.command()
def workloads() -> None:
    """List the built-in workloads."""
    from autoopt import terminal

    terminal.workloads()


@app.command()
def spaces(
    settings: Annotated[
        bool, typer.Option("--settings", help="List what a space file may set, with defaults.")
    ] = False,
) -> None:
    """List the shipped search spaces, or all settings of a space file."""
    from autoopt import terminal

    if settings:
        terminal.settings()
    else:
        terminal.spaces()


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from autoopt import __version__

        typer.echo(__version__)
        raise typer.Exit


def main(plan: Plan | None = None) -> None:
    """The `autoopt` command: errors become one message and an exit code, never a traceback.

    `plan` says how long a search measures each trial, None for the usual.
    """
    with _errors_as_messages():
        app(obj=plan)


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


def _guards(texts: list[str] | None) -> dict[str, float]:
    """The limits by name. Raises UsageError with all that are wrong."""
    found, wrong = {}, []
    for text in texts or ():
        name, _, value = text.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            wrong.append(f"--guard must be NAME=FRACTION, such as worst_decile=0.03, got {text!r}")
    if wrong:
        raise UsageError(*wrong)
    return found


def _source(
    workload: str, model: str | None, task: str | None, option: list[str] | None, trust_bundle: bool = False
) -> tuple[str, dict[str, Scalar]]:
    """The source of the workload and its options, as `api` takes them."""
    wrong = [f"--option must be NAME=VALUE, got {text!r}" for text in option or () if "=" not in text]
    if model is None and (task is not None or trust_bundle):
        wrong.append("--task and --trust-bundle say something of --model: give it, or leave them out")
    if wrong:
        raise UsageError(*wrong)
    options: dict[str, Scalar] = {}
    for text in option or ():
        name, _, value = text.partition("=")
        options[name] = value
    if model is None:
        return workload, options
    if task is not None:
        options["task"] = task
    if trust_bundle:
        options["trust"] = True
    return f"model:{model}", options


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def _check_files(files: Mapping[str, Path | None]) -> None:
    """Raise UsageError with every file that could not be written later, before anything is done."""
    problems = [
        f"{option} must be a file in a folder that is there, got {path}"
        for option, path in files.items()
        if path is not None and (path.is_dir() or not path.parent.is_dir())
    ]
    if problems:
        raise UsageError(*problems)


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
