"""The commands: options in, a call of api.py, the result printed; errors become a message and an exit code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from autoopt.commands.check import check
from autoopt.commands.compare import compare
from autoopt.commands.diff import diff
from autoopt.commands.fleet import fleet
from autoopt.commands.members import builder, target_serve
from autoopt.commands.predict import predict
from autoopt.commands.pull import pull
from autoopt.commands.register import register
from autoopt.commands.remeasure import remeasure
from autoopt.commands.report import report
from autoopt.commands.searching import Shown, searched_and_shown
from autoopt.commands.serve import serve
from autoopt.commands.shared import Home, OfWorkload, Storage, Study, TrackingUri
from autoopt.commands.sign import sign
from autoopt.commands.target import target
from autoopt.commands.training_study import training_study
from autoopt.commands.ui import ui
from autoopt.endings import ended
from autoopt.errors import NothingFits, UsageError
from autoopt.options import duration, size_bytes, takes_request
from autoopt.study.request import HOME, SearchRequest

if TYPE_CHECKING:
    from autoopt.measure.timing import MeasuringPlan

app = typer.Typer(
    help="Search the compression configurations of a medical-imaging model on the hardware that will run it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich alone takes longer to import than the rest of --help
    context_settings={"help_option_names": ["-h", "--help"]},
)

Trial = Annotated[str, typer.Argument(help="A trial's number, or STUDY/NUMBER.")]


@app.command()
@takes_request()
def search(
    request: SearchRequest,
    context: typer.Context,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print errors, warnings and the answer in one line, no progress.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines, nothing else.")] = False,
) -> None:
    """Try configurations, measure each one here, and show the Pareto front. Continues where it stopped."""
    if quiet and as_json:
        raise UsageError("--quiet and --json exclude each other: give one of them")
    shown = Shown.EVENTS if as_json else Shown.ANSWER if quiet else Shown.ALL
    front = searched_and_shown(request, shown, context.obj)
    if not front:
        raise typer.Exit(NothingFits.exit_code)


@app.command()
@takes_request()
def plan(request: SearchRequest) -> None:
    """Say what a search would do and cost, without doing it: takes the same options."""
    from autoopt import api, terminal

    for item in request.each_target():
        terminal.plan(api.plan(item))


@app.command()
def front(
    workload: OfWorkload = None,
    study: Study = None,
    storage: Storage = None,
    home: Home = HOME,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Show all columns, however long a line becomes.")] = False,
    arms: Annotated[
        bool, typer.Option("--arms", help="Show the named configurations of the space, each beside the front.")
    ] = False,
) -> None:
    """Show the Pareto front of a study."""
    from autoopt import api, terminal
    from autoopt.deploy.nothing_fits import nothing_fits
    from autoopt.report.arms_text import arms_csv
    from autoopt.report.front_json import front_json
    from autoopt.report.tables import front_csv

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other: give one of them")
    result = api.front(study=study, workload=workload, storage=storage, home=home)
    if as_json:
        typer.echo(json.dumps(front_json(result), indent=2))
    elif as_csv:
        typer.echo(arms_csv(result) if arms else front_csv(result), nl=False)
    elif arms:
        terminal.arms(result, wide=wide)
    elif not result.lacks_reference:
        terminal.front(result, wide=wide)
    if result.lacks_reference:
        raise NothingFits(nothing_fits(result))


@app.command()
def gc(
    storage: Storage = None,
    home: Home = HOME,
    max_size: Annotated[str, typer.Option(metavar="SIZE", help="Keep this much, such as 5GB.")] = "0GB",
) -> None:
    """Remove artifacts that no study needs (its front and references stay), and what killed processes and interrupted
    trainings left."""
    from autoopt import api, terminal

    terminal.collected(api.gc(storage=storage, home=home, most_bytes=size_bytes(max_size, "--max-size")))


@app.command()
def replay(trial: Trial, study: Study = None, storage: Storage = None, home: Home = HOME) -> None:
    """Run one stored trial again, alone, and show the difference."""
    from autoopt import api, progress, terminal

    with progress.StageLine() as line:
        replayed = api.replay(trial, study=study, storage=storage, home=home, on_stage=line)
    terminal.replay(replayed)


@app.command()
def explain(
    trial: Trial,
    against: Annotated[
        str | None, typer.Option(help="The trial to compare with. [default: the same one without quantization]")
    ] = None,
    study: Study = None,
    storage: Storage = None,
    home: Home = HOME,
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


app.command()(report)
app.command()(pull)
app.command()(register)
app.command()(check)
app.command()(sign)
app.command()(predict)
app.command()(serve)
app.command()(remeasure)
app.command()(diff)
app.command()(compare)
app.command()(ui)
app.command("training-study")(training_study)
app.add_typer(fleet, name="fleet")
app.add_typer(builder, name="builder")
target.command("serve")(target_serve)
app.add_typer(target, name="target")


@app.command()
@takes_request("workload", "options", "data", "weights", "weights_key", "home")
def sensitivity(
    request: SearchRequest,
    csv: Annotated[Path | None, typer.Option(help="Write the ranking to this file.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write a picture of it to this file.")] = None,
) -> None:
    """Rank groups of layers by what keeping them in float recovers for the time that it costs here."""
    from autoopt import api, progress, terminal
    from autoopt.core.store import write_atomic
    from autoopt.report import layer_ranking

    _check_files({"--csv": csv, "--png": png})
    with progress.StageLine() as line:
        ranking = api.sensitivity(request, on_stage=line)
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
    from autoopt.measure.target import LocalTarget
    from autoopt.report import matrix_text

    _check_files({"--csv": csv, "--markdown": markdown})
    with progress.MatrixBar(count(quick=quick)) as bar:
        cells = api.matrix(quick=quick, home=home, on_cell=bar)
    terminal.matrix(cells)
    if csv is not None:
        write_atomic(csv, matrix_text.as_csv(cells).encode())
    if markdown is not None:
        write_atomic(markdown, matrix_text.as_page(cells, LocalTarget().host, quick=quick).encode())


@app.command()
@takes_request("workload", "options", "home")
def train(
    request: SearchRequest,
    data: Annotated[Path | None, typer.Option(help="Data folder.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Train on the embedded demo data.")] = False,
    time: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Leave out steps to end in time. [default: do all of the recipe]"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, batches and augmentation.")] = 0,
) -> None:
    """Train the baseline of a workload and store its weights where a search finds them."""
    from autoopt import api, progress, terminal

    if demo and data is not None:
        raise UsageError("--demo and --data exclude each other: give one of them")
    with progress.TrainBar() as bar:
        trained = api.train(
            request.workload,
            options=request.options,
            data=data,
            demo=demo,
            home=request.home,
            seed=seed,
            max_seconds=duration(time, "--time"),
            progress=bar,
            on_remark=bar.remark,
        )
    terminal.train_result(trained, source=request.workload, data=data, options=request.options, home=request.home)


@app.command()
def doctor(
    storage: Storage = None,
    tracking_uri: TrackingUri = None,
    noise: Annotated[
        bool, typer.Option("--noise", help="Measure how this host's latencies vary (A/A test) and its peaks; a minute.")
    ] = False,
    home: Home = HOME,
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


def main(plan: MeasuringPlan | None = None) -> NoReturn:
    """The `autoopt` command: errors become one message and an exit code, never a traceback.

    `plan` says how long a search measures each trial, None for the usual.
    """
    ended(partial(app, obj=plan))


def _check_files(files: Mapping[str, Path | None]) -> None:
    """Raise UsageError with every file that could not be written later, before anything is done."""
    problems = [
        f"{option} must be a file in a folder that is there, got {path}"
        for option, path in files.items()
        if path is not None and (path.is_dir() or not path.parent.is_dir())
    ]
    if problems:
        raise UsageError(*problems)
