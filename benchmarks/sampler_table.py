"""Which sampler finds the front soonest: one grid measured whole, searched again and again from the stored table.

    autoopt search --workload histo --data DIR --space benchmarks/sampler_grid.yaml --budget 2000 --max-drop 0.05
    python -m benchmarks.sampler_table --store [--home mlruns] [--study NAME]    # the study as a table
    python -m benchmarks.sampler_table [--replays 200] [--samplers model,random] [--png FILE]
    python -m benchmarks.sampler_table --early-stop [--replays 40] [--budget 50]
    python -m benchmarks.sampler_table --in-flight 8 [--replays 20]

A replay proposes as a search does, seeds first, and is told what the table says. Its result is the hypervolume of
what it found (area in log speed-up over PyTorch times the Dice above the baseline less 0.05) over that of the grid.
With --early-stop the replays end early as a search does whose numbers are noisy, and then spend their budget all the
same: what had they lost? With --in-flight so many trials run at once, as on several targets.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.pareto import hypervolume
from autoopt.study.proposals import SEED, Proposal, Proposals
from autoopt.study.samplers import DEFAULT, SAMPLERS, STARTUP_TRIALS, Sampler, at_random, optuna_sampler
from autoopt.study.space import Space, load_space, seeds

FOLDER = Path(__file__).parent
GRID, TABLE = FOLDER / "sampler_grid.yaml", FOLDER / "sampler_table.json"
DROP = 0.05
BUDGET = 50
GOAL = 0.95
OFTEN = 0.9
"""The default sampler, seeds first, must reach the share GOAL in so many replays."""
NOISE = (0.02, 0.001)
"""What a search of such a network is told of its noise: of log seconds, of Dice."""
SPREAD = 0.6
"""Standard deviation of the logarithm of what a trial takes, where many run at once."""
SIDE_BY_SIDE_GOAL = 0.96
"""Of the grid's hypervolume after `BUDGET` trials with eight in flight."""
MOST_LOST = 0.01
"""Of the hypervolume, on average, where searches end early."""
ALL: Mapping[str, Callable[[Space, int, int], Sampler]] = {
    **SAMPLERS,
    "gp": partial(optuna_sampler, "GPSampler", n_startup_trials=STARTUP_TRIALS),
}
"""Optuna's Gaussian process too, which takes minutes a search: give it few replays."""


@dataclass(frozen=True)
class Table:
    """The measured grid: by digest of the configuration log seconds and minus Dice, None where the trial failed."""

    space: Space
    values: dict[str, tuple[float, float] | None]
    corner: tuple[float, float]

    @cached_property
    def whole(self) -> float:
        """The hypervolume of all of it."""
        return hypervolume([item for item in self.values.values() if item is not None], self.corner)


def read_table(path: Path) -> Table:
    """The stored table, with the space as it was on the host that measured it."""
    stored = json.loads(path.read_text())
    space = load_space(GRID, Host(**{**stored["host"], "isa": tuple(stored["host"]["isa"])}))
    values = {
        digest: None if seconds is None else (math.log(seconds), -dice) for digest, seconds, dice in stored["trials"]
    }
    missing = [found for _, found in space.points() if found.digest not in values]
    if missing:
        raise SystemExit(f"{path} must have all points of {GRID}, it lacks {len(missing)}: measure them and --store")
    return Table(space, values, (math.log(stored["torch_s"]), -(stored["dice"] - DROP)))


def store_table(home: Path, study: str | None, path: Path) -> None:
    """Write the trials of a stored study as a table."""
    from autoopt import api
    from autoopt.core.store import write_atomic
    from autoopt.study.numbers import objectives

    result = api.front(home=home, study=study)
    reference = result.reference
    assert reference is not None and reference.quality is not None
    trials: list[list[Scalar]] = []
    for record in result.judged:
        scored = record.quality is not None and record.measurement is not None
        seconds = objectives()["latency"].minimised(record) if scored else None
        trials.append([record.configuration.digest, seconds, record.quality.value if record.quality else None])
    document = {
        "host": asdict(result.card.host),
        "torch_s": objectives()["latency"].minimised(reference),
        "dice": reference.quality.value,
        "trials": sorted(trials, key=str),
    }
    write_atomic(path, (json.dumps(document, indent=0) + "\n").encode())
    print(f"{len(trials)} trials in {path}")


def replay(table: Table, name: str, seed: int, *, with_seeds: bool) -> list[float]:
    """The share of the grid's hypervolume after each of `BUDGET` trials."""
    space, chosen = table.space, ALL[name](table.space, 2, seed)
    if hasattr(chosen, "noise"):
        chosen.noise = NOISE
    seen: set[str] = set()
    known: list[tuple[float, float]] = []
    shares: list[float] = []

    def told(raw: dict[str, Scalar], digest: str) -> None:
        seen.add(digest)
        values = table.values[digest]
        chosen.tell(raw, values, {} if values is None else {"drop": values[1] - table.corner[1]})
        if values is not None:
            known.append(values)
        shares.append(hypervolume(known, table.corner) / table.whole if known else 0.0)

    for item in seeds(space) if with_seeds else ():
        if item.raw is not None:
            told(dict(item.raw), item.configuration.digest)
    while len(shares) < BUDGET:
        found = chosen.ask(seen) or at_random(space, seen, np.random.default_rng([seed, len(shares)]))
        assert found is not None
        told(dict(found[0]), found[1].digest)
    return shares


def replay_side_by_side(table: Table, seed: int, in_flight: int, *, tells_pending: bool) -> list[float]:
    """The share of the grid's hypervolume after each of `BUDGET` trials, `in_flight` of which run at once.

    Seeds come first, one after the other. What a trial takes is drawn from a log-normal distribution. Unless it
    `tells_pending` points, the sampler only knows not to propose them again.
    """
    proposals, rng = Proposals(table.space, 2, seed, 0), np.random.default_rng([seed, in_flight])
    proposals.noise = NOISE
    running: list[tuple[float, Proposal]] = []
    known: list[tuple[float, float]] = []
    shares: list[float] = []
    now = 0.0

    def told(proposal: Proposal) -> None:
        values = table.values.get(proposal.configuration.digest)
        excess = {} if values is None else {"drop": values[1] - table.corner[1]}
        proposals.tell(proposal.configuration, proposal.raw, values, excess)
        known.extend([] if values is None else [values])
        shares.append(hypervolume(known, table.corner) / table.whole if known else 0.0)

    for proposal in proposals.until(BUDGET):
        if proposal.origin == SEED:
            told(proposal)
            continue
        proposals.begin(proposal if tells_pending else replace(proposal, raw=None))
        running.append((now + rng.lognormal(0.0, SPREAD), proposal))
        if len(running) == in_flight:
            running.sort(key=lambda item: item[0])
            now, done = running.pop(0)
            told(done)
    for _, proposal in sorted(running, key=lambda item: item[0]):
        told(proposal)
    return shares


def side_by_side(table: Table, replays: int, in_flight: int) -> int:
    """Print what many trials at once cost, with and without what the models expect; 1 where the goal is missed."""
    found = {}
    for label, many, tells in (
        ("one at a time", 1, True),
        ("nothing told", in_flight, False),
        ("believed", in_flight, True),
    ):
        shares = np.array([replay_side_by_side(table, seed, many, tells_pending=tells) for seed in range(replays)])
        found[label] = shares[:, BUDGET - 1]
        means = ", ".join(f"{shares[:, count - 1].mean():.3f} @{count}" for count in (20, 30, 50))
        often = np.mean((shares >= GOAL).any(axis=1))
        print(f"{many} in flight, {label:14} {means}; {GOAL:.0%} reached by {often:.0%}", flush=True)
    gained = found["believed"] - found["nothing told"]
    error = gained.std(ddof=1) / math.sqrt(replays)
    print(f"believed less nothing told, after {BUDGET}: {gained.mean():+.4f} +- {error:.4f} (standard error)")
    return int(found["believed"].mean() < SIDE_BY_SIDE_GOAL or gained.mean() <= 0)


def replay_early(table: Table, seed: int, budget: int) -> tuple[int, float, float]:
    """After how many trials a search of a noisy host ends, and the share of the hypervolume then and after `budget`."""
    proposals = Proposals(table.space, 2, seed, 0)
    proposals.noise = NOISE
    known: list[tuple[float, float]] = []
    counts: list[int] = []
    shares: list[float] = []
    count = 0
    for noise in (lambda: math.inf, None):
        for proposal in proposals.until(budget, noise):
            values = table.values.get(proposal.configuration.digest)
            excess = {} if values is None else {"drop": values[1] - table.corner[1]}
            proposals.tell(proposal.configuration, proposal.raw, values, excess)
            count += 1
            known += [] if values is None else [values]
        counts.append(count)
        shares.append(hypervolume(known, table.corner) / table.whole)
    return counts[0], shares[0], shares[1]


def early_stops(table: Table, replays: int, budget: int) -> int:
    """Print what ending early saves and loses; 1 where it loses more than `MOST_LOST` of the hypervolume."""
    found = np.array([replay_early(table, seed, budget) for seed in range(replays)])
    counts, lost = found[:, 0], 1 - found[:, 1] / found[:, 2]
    print(
        f"budget {budget}: ended after {counts.mean():.1f} trials ({np.mean(counts < budget):.0%} of {replays} replays "
        f"early); lost {lost.mean():.2%} of the hypervolume, at most {lost.max():.2%}, more than {MOST_LOST:.0%} in "
        f"{np.mean(lost > MOST_LOST):.0%}"
    )
    return int(lost.mean() > MOST_LOST)


def main() -> int:
    """Store a table, or replay it and print one line per sampler; 1 when the goal is missed by the default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", action="store_true")
    parser.add_argument("--home", type=Path, default=Path("mlruns"))
    parser.add_argument("--study", default=None)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--samplers", default=",".join(SAMPLERS))
    parser.add_argument("--early-stop", action="store_true")
    parser.add_argument("--budget", type=int, default=BUDGET, help="with --early-stop")
    parser.add_argument("--in-flight", type=int, default=1, help="how many trials run at once")
    parser.add_argument("--png", type=Path, default=None)
    options = parser.parse_args()
    if options.store:
        store_table(options.home, options.study, options.table)
        return 0
    table = read_table(options.table)
    if options.early_stop:
        return early_stops(table, options.replays, options.budget)
    if options.in_flight > 1:
        return side_by_side(table, options.replays, options.in_flight)
    print(f"{len(table.values)} points, hypervolume {table.whole / math.log(10):.4f} (log10 speed-up x Dice)")
    curves: dict[str, np.ndarray] = {}
    missed = False
    for name in options.samplers.split(","):
        for with_seeds in (True, False):
            began = time.perf_counter()
            shares = np.array([replay(table, name, seed, with_seeds=with_seeds) for seed in range(options.replays)])
            label = f"{name}{', seeds first' if with_seeds else ''}"
            curves[label] = shares
            reached = np.where((shares >= GOAL).any(axis=1), (shares >= GOAL).argmax(axis=1) + 1, np.inf)
            often = np.mean(np.isfinite(reached))
            missed |= name == DEFAULT and with_seeds and bool(often < OFTEN)
            means = ", ".join(f"{shares[:, count - 1].mean():.3f} @{count}" for count in (20, 30, 50))
            seconds = (time.perf_counter() - began) / options.replays
            print(
                f"{label:30} {means}; {GOAL:.0%} reached by {often:6.1%}, "
                f"median after {np.median(reached):.0f}; {seconds:.1f} s a replay",
                flush=True,
            )
    if options.png is not None:
        draw(curves, options.png)
    return int(missed)


def draw(curves: dict[str, np.ndarray], path: Path) -> None:
    """The mean share of the hypervolume against trials, with the range that eight of ten replays are in."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes = figure.subplots()
    trials = np.arange(1, BUDGET + 1)
    for label, shares in curves.items():
        if "seeds" not in label:
            continue
        (line,) = axes.plot(trials, shares.mean(axis=0), label=label.removesuffix(", seeds first"))
        low, high = np.quantile(shares, (0.1, 0.9), axis=0)
        axes.fill_between(trials, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    axes.axhline(GOAL, color="grey", linewidth=0.8, linestyle="--")
    axes.set(xlabel="trials", ylabel="share of the grid's hypervolume", ylim=(0.3, 1.01), xlim=(1, BUDGET))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    FigureCanvasAgg(figure)
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
