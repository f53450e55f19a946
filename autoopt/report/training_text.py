"""A training study as a table: of each network and arm the mean and the spread over its seeds, and the front.

The spread is the standard deviation over the seeds. On the front is what no other line is better than in training time,
memory and quality (and energy, where it could be read), by the means alone: of a few seeds, so a small lead is none.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from autoopt.compress.training_study import COMPLETE, Row, TrainingStudy
from autoopt.core.pareto import front
from autoopt.nets.training_arms import ARMS
from autoopt.report.csv_text import csv_text


@dataclass(frozen=True)
class Measure:
    """A number of a row: its column's title, how it is read from a row (None where it is not known), its decimals."""

    title: str
    read: Callable[[Row], float | None]
    digits: int = 1
    objective: bool = False


def _trained(name: str, scale: float = 1.0) -> Callable[[Row], float | None]:
    def read(row: Row) -> float | None:
        value = row.trained.get(name)
        return None if value is None else scale * float(value)

    return read


def _score(row: Row) -> float | None:
    value = row.trained.get("scores", {}).get(row.metric)
    return None if value is None else float(value)


def _int8_score(row: Row) -> float | None:
    value = row.int8.get("scores", {}).get(row.metric)
    return None if value is None else float(value)


def _int8_speed_up(row: Row) -> float | None:
    seconds = row.int8.get("seconds")
    return float(row.int8["float_seconds"]) / float(seconds) if seconds else None


def _step_ms(row: Row) -> float | None:
    if not row.trained:
        return None
    return 1e3 * float(row.trained["train_s"]) / max(1, int(row.trained["steps"]) - 1)


QUALITY = "quality"
MEASURES: Mapping[str, Measure] = {
    "train_s": Measure("training s", _trained("train_s"), 1, objective=True),
    "step_ms": Measure("ms a step", _step_ms, 1),
    "setup_s": Measure("first step s", _trained("setup_s"), 1),
    "added_mb": Measure("memory MB", _trained("added_bytes", 1e-6), 0, objective=True),
    "state_mb": Measure("state MB", _trained("state_bytes", 1e-6), 1),
    "joules": Measure("energy J", _trained("joules"), 0, objective=True),
    "co2_g": Measure("CO2 g (estimate)", _trained("co2_g"), 3),
    QUALITY: Measure("METRIC", _score, 4, objective=True),
    "int8_quality": Measure("INT8 METRIC", _int8_score, 4),
    "int8_speed_up": Measure("INT8 speed-up", _int8_speed_up, 2),
}
"""By the names that CSV and JSON have; METRIC stands for the workload's primary one."""


@dataclass(frozen=True)
class Line:
    """A network and an arm: the (mean, spread) of each measure; the spread of a single seed is not known (None).

    `seeds` are those that are complete; `reasons` say why others are not, or have no INT8.
    """

    network: str
    arm: str
    seeds: tuple[int, ...]
    numbers: Mapping[str, tuple[float, float | None]]
    reasons: tuple[str, ...] = ()
    on_front: bool = False


def lines_of(study: TrainingStudy) -> list[Line]:
    """A line for each network and arm, in the order of the rows."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in study.rows:
        groups.setdefault((row.network, row.arm), []).append(row)
    lines = [_line(network, arm, rows) for (network, arm), rows in groups.items()]
    done = [line for line in lines if line.seeds]
    kept = [name for name, item in MEASURES.items() if item.objective and all(name in line.numbers for line in done)]
    sign = {QUALITY: 1.0 if study.less_is_better else -1.0}
    best = front([[sign.get(name, 1.0) * line.numbers[name][0] for name in kept] for line in done])
    marked = {(line.network, line.arm) for line, is_best in zip(done, best, strict=True) if is_best}
    return [replace(line, on_front=(line.network, line.arm) in marked) for line in lines]


def as_markdown(study: TrainingStudy) -> str:
    """The table, with numbered reasons below; columns that no line has are left out."""
    lines, reasons = lines_of(study), dict[str, int]()
    names = [name for name in MEASURES if any(name in line.numbers for line in lines)]
    titles = ["network", "arm", "seeds", *(_title(name, study.metric) for name in names), "front"]
    table = [f"| {' | '.join(titles)} |", f"| --- | --- |{' ---: |' * (len(titles) - 2)}"]
    for line in lines:
        marks = "".join(f" ({reasons.setdefault(reason, len(reasons) + 1)})" for reason in line.reasons)
        count = f"{len(line.seeds)}{marks}"
        cells = [_cell(line.numbers.get(name), MEASURES[name].digits) for name in names]
        table.append(
            f"| {' | '.join([line.network, ARMS[line.arm].title, count, *cells, '*' if line.on_front else ''])} |"
        )
    table += ["", *(f"({number}) {reason}" for reason, number in reasons.items())]
    return "\n".join(table).strip() + "\n"


def notes(study: TrainingStudy) -> list[str]:
    """What is to be known beside the table, as sentences."""
    host = study.host
    head = (
        f"{study.title}; {host.cpu}, {study.threads} of {host.cores} cores. Mean and standard deviation over the seeds;"
    )
    said = [
        f"{head} {study.metric} is that on val.",
        "training s leaves out the first step, in which libraries prepare and compile.",
        "memory: the most that the other steps held more than before the network was built.",
        "state: weights, gradients and what the optimiser keeps.",
        "*: no other line is better in training time, memory and quality, by these means.",
    ]
    if study.why_no_energy:
        said.append(f"No energy: {study.why_no_energy}.")
    if any("co2_g" in row.trained for row in study.rows):
        said.append(
            "CO2 is an estimate: measured joules times the mean of a country's electricity (codecarbon's table)."
        )
    return said


def as_csv(study: TrainingStudy) -> str:
    """Every row as CSV."""
    header = ["network", "arm", "seed", "status", *MEASURES, "reason"]
    return csv_text(header, ([*_plain(row).values()] for row in study.rows))


def as_json(study: TrainingStudy) -> dict[str, Any]:
    """The rows and the lines as plain JSON."""
    lines = [{**asdict(line), "numbers": {k: list(v) for k, v in line.numbers.items()}} for line in lines_of(study)]
    return {
        "title": study.title,
        "metric": study.metric,
        "host": study.host.cpu,
        "cores": study.host.cores,
        "threads": study.threads,
        "why_no_energy": study.why_no_energy,
        "rows": [{**_plain(row), "options": dict(row.options)} for row in study.rows],
        "lines": lines,
    }


def row_text(row: Row) -> str:
    """A row in one line, for who waits."""
    head = f"{row.network}, {ARMS[row.arm].title}, seed {row.seed}"
    if row.status != COMPLETE:
        return f"{head}: {row.status}: {row.reason}"
    numbers = {name: item.read(row) for name, item in MEASURES.items()}
    told = [
        f"{_title(name, row.metric)} {value:.{MEASURES[name].digits}f}"
        for name, value in numbers.items()
        if value is not None
    ]
    failed = f"; no INT8: {row.int8['reason']}" if "reason" in row.int8 else ""
    return f"{head}: {', '.join(told)}{failed}"


def _line(network: str, arm: str, rows: Sequence[Row]) -> Line:
    done = [row for row in rows if row.status == COMPLETE]
    numbers: dict[str, tuple[float, float | None]] = {}
    for name, item in MEASURES.items():
        values = [value for row in done if (value := item.read(row)) is not None]
        if values and len(values) == len(done):  # a mean over other seeds would be compared with nothing
            numbers[name] = (statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)
    reasons = [f"{row.status}: {row.reason}" for row in rows if row.status != COMPLETE]
    reasons += [f"no INT8: {row.int8['reason']}" for row in done if "reason" in row.int8]
    return Line(network, arm, tuple(row.seed for row in done), numbers, tuple(dict.fromkeys(reasons)))


def _plain(row: Row) -> dict[str, Any]:
    numbers = {name: item.read(row) for name, item in MEASURES.items()}
    reason = row.reason or str(row.int8.get("reason", ""))
    head = {"network": row.network, "arm": row.arm, "seed": row.seed, "status": row.status}
    return {**head, **numbers, "reason": reason}


def _title(name: str, metric: str) -> str:
    return MEASURES[name].title.replace("METRIC", metric)


def _cell(number: tuple[float, float | None] | None, digits: int) -> str:
    if number is None:
        return "-"
    mean, spread = number
    return f"{mean:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")
