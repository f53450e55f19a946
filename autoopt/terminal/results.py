"""What the smaller commands print when they are done: tables, and numbers with their units."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from autoopt.compress import sensitivity
from autoopt.compress.matrix import FAILED, REFUSED, SAME, WORKS
from autoopt.core.configuration import Scalar
from autoopt.report.matrix_text import as_markdown
from autoopt.report.tables import reasons_text
from autoopt.study.prepare import command_arguments
from autoopt.study.request import HOME
from autoopt.terminal.console import console_of, counts_text, duration

if TYPE_CHECKING:
    from autoopt.compress.matrix import Cell
    from autoopt.doctor import Check
    from autoopt.measure.noise import Noise
    from autoopt.nets.baseline import TrainResult
    from autoopt.report.explanation import Explanation
    from autoopt.report.layer_ranking import LayerRanking
    from autoopt.study.garbage import Collected
    from autoopt.study.replay import Replay


def collected(found: Collected) -> None:
    """Print what a collection removed and what is left."""
    console_of().print(
        f"removed {len(found.artifacts)} artifacts ({found.freed_bytes / 1e6:.0f} MB) that no study needs and "
        f"{len(found.left_behind)} temporary folders and files of processes that run no more, "
        f"{len(found.trainings)} checkpoints and weights ({found.training_bytes / 1e6:.0f} MB) of interrupted "
        f"trainings; {found.kept_bytes / 1e6:.0f} MB of artifacts are kept",
        markup=False,
    )


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
    console.print(f"{len(cells)} cells: {counts_text(counts)}.", markup=False)


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
    trained: TrainResult,
    *,
    source: str,
    data: Path | None,
    options: Mapping[str, Scalar] | None = None,
    home: Path = HOME,
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
    arguments = command_arguments(source, f"{option} {shlex.quote(str(path))}", options or {}, home=home)
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


def _change(name: str, before: float, after: float) -> str:
    if name.endswith(("_ms", "_mb", "_per_s", "_per_call")) or name.startswith("speedup"):
        return f"{(after / before - 1) * 100:+.1f} %" if before else ""
    return f"{after - before:+z.4f}"
