"""What the commands print when they are done: tables, and numbers with their units."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from autoopt.compress import sensitivity
from autoopt.compress.matrix import FAILED, REFUSED, SAME, WORKS
from autoopt.core.configuration import Scalar
from autoopt.core.records import Status, TrialRecord
from autoopt.core.urls import without_secrets
from autoopt.deploy.nothing_fits import nothing_fits
from autoopt.report.matrix_text import as_markdown
from autoopt.report.next_commands import report_path
from autoopt.report.tables import columns, front_notes, front_rows, reasons_text, reference_rows
from autoopt.study.prepare import command_arguments
from autoopt.study.request import HOME, SearchRequest
from autoopt.study.result import StudyResult
from autoopt.tracking import default_tracking_uri
from autoopt.tracking.server import is_server

if TYPE_CHECKING:
    from autoopt.compress.matrix import Cell
    from autoopt.doctor import Check
    from autoopt.measure.noise import Noise
    from autoopt.nets.baseline import TrainResult
    from autoopt.report.explanation import Explanation
    from autoopt.report.layer_ranking import LayerRanking
    from autoopt.study.garbage import Collected
    from autoopt.study.loop import SearchResult
    from autoopt.study.plan import SearchPlan
    from autoopt.study.replay import Replay


BUSIER = 1.1
"""A plan says that the host was busy where that makes it so many times longer."""


def console_of(*, stderr: bool = False) -> Console:
    """A console on standard output or standard error, be it a terminal, a file or a pipe."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def search_result(result: SearchResult, request: SearchRequest) -> None:
    """Print the front, where the time went, and the next commands."""
    console = console_of()
    front(result.study)
    counts = {status: sum(record.status is status for record in result.records) for status in Status}
    tally = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    console.print(f"{len(result.records)} trials ({tally}); {result.stopped}.", markup=False)
    _uncertainty(console, result.study)
    if result.exhaustive:
        console.print("The canonical space is not larger than the budget: the search is exhaustive.")
    _failures(console, result.records)
    if result.made or result.reused:
        made, reused = _counts(result.made), _counts(result.reused)
        console.print(f"Artifacts made: {made}; reused: {reused}.", markup=False)
    total = result.seconds.get("total", 0.0)
    shares = [f"{kind} {duration(seconds)}" for kind, seconds in result.seconds.items() if kind != "total"]
    console.print(f"Time: {duration(total)} = {' + '.join(shares)}.", markup=False)
    _next_commands(console, result.study, request)


def front(result: StudyResult) -> None:
    """Print the front as a table with speed-ups, drop, memory and size, and the reference below it."""
    console = console_of()
    if result.card.weights_remark:
        console.print(result.card.weights_remark, markup=False)
    if not result.front:
        console.print(nothing_fits(result), markup=False)
        return
    table = Table(title=f"Pareto front of {result.card.title}: study {result.card.name}", title_justify="left")
    for index, name in enumerate(columns(result)):
        table.add_column(name, justify="left" if index < 2 else "right", no_wrap=index != 1, overflow="fold")
    for cells in front_rows(result):
        table.add_row(*cells)
    table.add_section()
    for cells in reference_rows(result):
        table.add_row(*cells, style="dim")
    Console(highlight=False, width=max(console.width, 180) if not console.is_terminal else None).print(table)
    console.print("\n".join(front_notes(result)), markup=False)
    if result.stand_in:
        console.print(f"Drops are not against PyTorch FP32: {result.stand_in}.", markup=False)


def collected(found: Collected) -> None:
    """Print what a collection removed and what is left."""
    console_of().print(
        f"removed {len(found.artifacts)} artifacts ({found.freed_bytes / 1e6:.0f} MB) that no study needs and "
        f"{len(found.left_behind)} temporary folders and files of processes that run no more, "
        f"{len(found.trainings)} checkpoints and weights ({found.training_bytes / 1e6:.0f} MB) of interrupted "
        f"trainings; {found.kept_bytes / 1e6:.0f} MB of artifacts are kept",
        markup=False,
    )


def plan(planned: SearchPlan) -> None:
    """Print what a search would do and cost."""
    console = console_of()
    card = planned.card
    basis = "from this study so far" if planned.measured_here else "a guess: no trial was measured here yet"
    size = f"{planned.count.n}" if planned.count.exact else f"at least {planned.count.n}"
    lines = [
        f"study        {card.name} ({card.title})",
        f"space        {size} canonical points of {planned.raw_size:.0f}: the rest has no effect on this host",
        f"search       {'exhaustive' if planned.exhaustive else f'seeds, then the sampler {planned.sampler}'}",
        f"seeds        {', '.join(planned.seeds)}",
        f"trials       {planned.trials_done} done, {planned.trials_to_run} to run",
        f"artifacts    about {_counts(planned.artifacts)}, each made once",
        f"time         about {duration(planned.seconds)} ({basis}){_busy(planned)}{_stop(planned)}",
        f"disk         about {planned.disk_bytes / 1e6:.0f} MB",
    ]
    console.print("\n".join(lines), markup=False)
    if card.weights_remark:
        console.print(card.weights_remark, markup=False)


def _busy(planned: SearchPlan) -> str:
    """A remark that what the estimate is made of was timed on a busy host, with the time where it stays as busy."""
    if planned.busy_s <= BUSIER * planned.seconds:
        return ""
    return f" if the host is left alone; it was busy when this was timed, and {duration(planned.busy_s)} if it stays so"


def _stop(planned: SearchPlan) -> str:
    """A remark that the search is stopped by `--time`, where that is before the estimated end."""
    cut = planned.time_s is not None and planned.time_s < planned.seconds
    return f", but --time stops it after {duration(planned.time_s or 0.0)}" if cut else ""


def ranking(found: LayerRanking) -> None:
    """Print the groups of layers in the order in which to keep them in float."""
    table = Table(title=found.title, title_justify="left")
    for name in ("keep_float", "group", "layers", "noise recovered", "ms lost", "in all"):
        table.add_column(name, justify="left" if name == "group" else "right")
    for place, (group, layers, recovered, cost_ms, so_far_ms) in enumerate(sensitivity.table(found.ranks), start=1):
        table.add_row(
            str(place), group, str(layers), f"{100 * recovered:.1f} %", f"{cost_ms:+.2f}", f"{so_far_ms:+.2f}"
        )
    console = console_of()
    console.print(table, markup=False)
    console.print(f"A call with all of them in integers takes {1e3 * found.ranks[0].call_s:.2f} ms.", markup=False)


def matrix(cells: Sequence[Cell]) -> None:
    """Print the matrix as tables, with what its cells mean."""
    console = console_of()
    console.print("Small networks with random weights and invented images: what works here, not what it loses.")
    console.print(
        "x: over the float network in the same runtime; dB: signal over the distance from what PyTorch answers.\n"
    )
    console.print(as_markdown(cells), markup=False)
    counts = {status: sum(cell.status == status for cell in cells) for status in (WORKS, SAME, REFUSED, FAILED)}
    console.print(f"{len(cells)} cells: {_counts(counts)}.", markup=False)


def replay(replayed: Replay) -> None:
    """Print the numbers of a trial then and now, and their difference."""
    console = console_of()
    before, after = replayed.before, replayed.after
    console.print(f"trial #{before.number} of {replayed.study.card.name} ({replayed.study.card.title})", markup=False)
    console.print(f"  {before.configuration}", markup=False)
    then, now = replayed.study.headline(before), replayed.study.headline(after)
    table = Table()
    for name in ("number", "then", "now", "difference"):
        table.add_column(name, justify="left" if name == "number" else "right")
    for name in dict.fromkeys([*then, *now]):
        a, b = then.get(name), now.get(name)
        change = "" if a is None or b is None else _change(name, a, b)
        table.add_row(name, "" if a is None else f"{a:.4g}", "" if b is None else f"{b:.4g}", change)
    console.print(table)
    for reason in reasons_text(replayed.study.without_interval(after)):
        console.print(f"no interval now of {reason}", markup=False)
    for record, when in ((before, "then"), (after, "now")):
        if record.failure is not None:
            console.print(
                f"{when}: failed in {record.failure.stage}: {record.failure.cause}: {record.failure.message}",
                markup=False,
            )
    for note in replayed.notes:
        console.print(f"note: {note}", markup=False)


def explanation(explained: Explanation) -> None:
    """Print why a trial is faster or slower: sentences, totals, the slowest layers."""
    from autoopt.report.explain_text import explain_text

    console = console_of()
    width = console.width if console.is_terminal else None
    console.print("\n".join(explain_text(explained, width=width)), markup=False)


def train_result(
    trained: TrainResult, *, source: str, data: Path | None, options: Mapping[str, Scalar] | None = None
) -> None:
    """Print the scores of a trained baseline, and the next command."""
    console = console_of()
    what = " (demo data)" if data is None else ""
    for quality in (trained.val, trained.test):
        values = ", ".join(f"{name} {value:.4f}" for name, value in quality.values.items())
        console.print(f"{quality.split:<5}{what} {values} ({quality.rule}, {len(quality.cases)} cases)", markup=False)
    console.print(f"wrote {trained.path} after {duration(trained.seconds)}", markup=False)
    if trained.left_out:
        console.print(f"These weights may be worse than the recipe can: {trained.left_out}.", markup=False)
    option, path = ("--weights", trained.path) if data is None else ("--data", data)
    arguments = command_arguments(source, f"{option} {shlex.quote(str(path))}", options or {})
    console.print(f"next: autoopt search {arguments} --budget 50", markup=False)


def checks(results: Sequence[Check]) -> None:
    """Print the outcome of every check of `autoopt doctor`."""
    words = {True: "ok", False: "FAILED", None: "-"}
    console = console_of()
    width = max(len(check.name) for check in results)
    for check in results:
        console.print(f"{words[check.ok]:<7}{check.name:<{width + 2}}{check.detail}", markup=False)


def noise(found: Noise) -> None:
    """Print the outcome of an A/A test."""
    console = console_of()
    console.print(
        f"A/A test: {found.processes} fresh processes of one model differ by {found.sigma:.1%} (standard deviation); "
        f"two trials are told apart from a difference of {found.floor:.1%}.",
        markup=False,
    )
    estimators = ", ".join(f"{name} {rms:.1%}" for name, rms in found.estimators.items())
    console.print(f"False difference by estimator (root mean square): {estimators}.", markup=False)
    console.print(f"Latencies are compared by their p{100 * found.quantile:g}.", markup=False)


def workloads() -> None:
    """Print the built-in workloads and their options, a line each."""
    import importlib

    from autoopt.workloads.loading import BUILT_IN

    for name, module in sorted(BUILT_IN.items()):
        workload = importlib.import_module(module)
        console_of().print(f"{name:<10}{workload.SUMMARY}", markup=False)
        for option, parameter in workload.OPTIONS.items():
            text = f"--option {option}={parameter.default}: {parameter.help} ({parameter.describe()})"
            console_of().print(f"{'':<10}{text}", markup=False)
    console_of().print("your own: `autoopt init my_model.py`, or --model (see docs/workloads.md)", markup=False)


def spaces() -> None:
    """Print the shipped search spaces, with their size on this host."""
    from autoopt.measure.target import LocalTarget
    from autoopt.study.space import load_space, shipped_spaces

    for name, description in sorted(shipped_spaces().items()):
        count = load_space(name, LocalTarget().host).count()
        points = f"{'' if count.exact else 'at least '}{count.n} points here"
        console_of().print(f"{name:<12}{points:<20}{description}", markup=False)


def settings() -> None:
    """Print all settings of a space file as a Markdown table: sections, defaults, allowed values, meaning."""
    from autoopt.study.space.settings import as_markdown

    console_of().print(as_markdown(), markup=False)


def _uncertainty(console: Console, study: StudyResult) -> None:
    """Print the noise that the intervals contain, the trials that broke the limit on test, and the noisy ones."""
    if study.reference_latency_s is not None:
        console.print(
            f"Fresh processes of one model differ by {study.sigma:.1%} here: that is in every interval. "
            "`on front` is the chance to be there, given the noise.",
            markup=False,
        )
    broken = [record for record in study.front if study.confirmed_on_test(record) is False]
    if broken:
        numbers = ", ".join(f"#{record.number}" for record in broken)
        console.print(
            f"Did not hold on test: {numbers} lost more there than the limit that it kept on val.", markup=False
        )
    noisy = [record for record in study.judged if any(note.startswith("noisy") for note in record.notes)]
    if noisy:
        console.print(f"Noisy, the host was busy: {', '.join(f'#{record.number}' for record in noisy)}.", markup=False)


def _failures(console: Console, records: Sequence[TrialRecord]) -> None:
    causes: dict[str, int] = {}
    for record in records:
        if record.failure is not None:
            causes[f"{record.failure.cause} in {record.failure.stage}"] = (
                causes.get(f"{record.failure.cause} in {record.failure.stage}", 0) + 1
            )
    if causes:
        console.print(
            "Failed: " + ", ".join(f"{count} x {cause}" for cause, count in sorted(causes.items())) + ".", markup=False
        )


def _next_commands(console: Console, study: StudyResult, request: SearchRequest) -> None:
    home = "" if request.home == HOME else f" --home {shlex.quote(str(request.home))}"
    flags = home + ("" if request.storage is None else f" --storage {shlex.quote(without_secrets(request.storage))}")
    if request.tracking_uri is None:
        # Without the variable MLflow's server asks two hosts of its makers.
        uri = shlex.quote(default_tracking_uri(request.home))
        commands = [f"MLFLOW_DISABLE_TELEMETRY=true mlflow ui --backend-store-uri {uri}"]
    else:
        commands = [f"open {without_secrets(request.tracking_uri)}"]
    if (page := report_path(request.home, study.card.name)).is_file():
        commands.insert(0, f"open {shlex.quote(str(page))}   # the report, in a browser")
    if study.front:
        name = shlex.quote(study.card.name)
        commands.append(f"autoopt replay {name}/{study.front[0].number}{flags}")
        commands.append(f"autoopt pull --study {name} --pick balanced -o deploy/{flags}")
        if request.tracking_uri is not None and is_server(request.tracking_uri):  # its front was registered
            server = shlex.quote(without_secrets(request.tracking_uri))
            workload = shlex.quote(study.card.workload)
            commands.append(f"autoopt pull --workload {workload} --tracking-uri {server} -o deploy/   # on any machine")
    console.print("Next:", *(f"  {command}" for command in commands), sep="\n", markup=False)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {stage}" for stage, count in sorted(counts.items())) or "none"


def _change(name: str, before: float, after: float) -> str:
    if name.endswith(("_ms", "_mb", "_per_s", "_per_call")) or name.startswith("speedup"):
        return f"{(after / before - 1) * 100:+.1f} %" if before else ""
    return f"{after - before:+.4f}"


def duration(seconds: float) -> str:
    """Seconds as text, such as 4.2 s, 3 min 05 s or 2 h 07 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
