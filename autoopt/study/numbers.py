"""The numbers of a trial, each declared once: its key, unit, meaning, how it is read, and where it is shown.

One line of `NUMBERS` feeds `StudyResult.headline`, the metrics in MLflow, the tables, `--objectives` and the tables of
docs/mlflow.md. Every metric of the workload is a number besides, under its own name (see `metric_values`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from autoopt.core.measurement import Measurement
from autoopt.core.records import TrialRecord
from autoopt.core.scores import Quality
from autoopt.inference.runtimes import REFERENCE_LABEL
from autoopt.study import uncertainty

PRIMARY = "{primary}"
"""Stands for the name of the workload's primary metric in the key and the title of a number."""
TEST = "test_"
"""Before the name of a metric that was scored on test."""


@dataclass(frozen=True)
class Comparison:
    """What the numbers of a trial may be compared with: the rest of its study.

    `reference` is what drops and the first speed-up are measured against, `openvino_f32` what the second speed-up is;
    `sigma` is the standard deviation of log latency between processes of one thing. `front_probability` and `roofline`
    are the fractions that the study knows of the trial itself, None where it knows none.
    """

    reference: TrialRecord | None = None
    openvino_f32: TrialRecord | None = None
    sigma: float = uncertainty.DEFAULT_SIGMA
    front_probability: float | None = None
    roofline: float | None = None


ALONE = Comparison()
"""A trial beside nothing."""
Read = Callable[[TrialRecord, Comparison], float | None]


@dataclass(frozen=True)
class Column:
    """How a number stands in the tables of a front: title, and format of the value.

    With `to` the cell is a range, from this number to the one with that key.
    """

    title: str
    format: str
    to: str = ""


@dataclass(frozen=True)
class Number:
    """One number of a trial.

    `read` gives it in SI units (seconds, bytes, joules, fractions), None where it does not exist; `scale` turns it into
    the `unit` that its key ends with. With the name of an `objective` it may be optimised; `log` says that ratios count
    and not differences, `larger_is_better` which way. Of a number with `best_of_front` the study tells the best.
    """

    key: str
    unit: str
    meaning: str
    read: Read
    scale: float = 1.0
    column: Column | None = None
    objective: str = ""
    log: bool = False
    larger_is_better: bool = False
    best_of_front: bool = False

    def name(self, primary: str) -> str:
        """The key in a study whose primary metric has this name."""
        return self.key.format(primary=primary)

    def of(self, record: TrialRecord, beside: Comparison = ALONE) -> float | None:
        """The number of a record in its unit; None where it does not exist or is not finite."""
        value = self.read(record, beside)
        return None if value is None or not math.isfinite(value) else value * self.scale

    def minimised(self, record: TrialRecord) -> float:
        """The number in SI units, its sign turned where more is better. Raises ValueError when there is none."""
        value = self.read(record, ALONE)
        if value is None:
            raise ValueError(f"trial {record.number} has no {self.objective}")
        return -value if self.larger_is_better else value


def _measured(read: Callable[[Measurement], float | None]) -> Read:
    return lambda record, beside: None if record.measurement is None else read(record.measurement)


def _interval(end: int) -> Read:
    return lambda record, beside: (
        None if record.measurement is None else uncertainty.latency_interval(record.measurement, beside.sigma)[end]
    )


def _cost(name: str) -> Read:
    return _measured(lambda measured: measured.cost.get(name) or None)  # unknown of what earlier versions measured


def _speedup(other: Callable[[Comparison], TrialRecord | None], end: int | None = None) -> Read:
    """The ratio of the other's latency to the trial's; with `end` 0 or 1 the ends of its interval."""

    def read(record: TrialRecord, beside: Comparison) -> float | None:
        compared = other(beside)
        if compared is None or compared.measurement is None or record.measurement is None:
            return None
        times = uncertainty.slower(compared.measurement, record.measurement, beside.sigma)
        if end is None:
            return times.ratio
        return None if compared.number == record.number else times.interval()[end]

    return read


def _drop(quality: Callable[[TrialRecord], Quality | None], what: str) -> Read:
    """What the primary metric lost against the reference: its "value", "upper" bound or "p_value"."""

    def read(record: TrialRecord, beside: Comparison) -> float | None:
        after, before = quality(record), None if beside.reference is None else quality(beside.reference)
        if before is None or after is None:
            return None
        if what == "value":
            return before.value - after.value
        bounds = uncertainty.drop(before, after)
        return None if bounds is None else bounds.upper if what == "upper" else bounds.p_value

    return read


def _torch(beside: Comparison) -> TrialRecord | None:
    reference = beside.reference
    return reference if reference is not None and reference.label == REFERENCE_LABEL else None


def _openvino(beside: Comparison) -> TrialRecord | None:
    return beside.openvino_f32


def _val(record: TrialRecord) -> Quality | None:
    return record.quality


def _test(record: TrialRecord) -> Quality | None:
    return record.test


_ROWS = (
    Number(
        "latency_p25_ms",
        "ms",
        "p25 latency of a call, with the host's drift cancelled by the reference that took turns with it",
        _measured(lambda measured: measured.latency_p25_s),
        1e3,
        Column("p25 ms", "{:.2f}"),
        objective="latency",
        log=True,
        best_of_front=True,
    ),
    Number(
        "latency_low_ms",
        "ms",
        "lower end of its 95 % interval",
        _interval(0),
        1e3,
        Column("95 %", "{:.1f}", to="latency_high_ms"),
    ),
    Number("latency_high_ms", "ms", "upper end of its 95 % interval", _interval(1), 1e3),
    Number(
        "speedup_vs_torch_f32",
        "",
        "how many times faster than PyTorch FP32",
        _speedup(_torch),
        column=Column("x PyTorch f32", "{:.2f}"),
        log=True,
        larger_is_better=True,
        best_of_front=True,
    ),
    Number("speedup_vs_torch_f32_low", "", "lower end of its 95 % interval", _speedup(_torch, 0), log=True),
    Number("speedup_vs_torch_f32_high", "", "upper end of its 95 % interval", _speedup(_torch, 1), log=True),
    Number(
        "speedup_vs_openvino_f32",
        "",
        "how many times faster than OpenVINO FP32, the fair comparison on a CPU",
        _speedup(_openvino),
        column=Column("x OpenVINO f32", "{:.2f}"),
        log=True,
        larger_is_better=True,
        best_of_front=True,
    ),
    Number("speedup_vs_openvino_f32_low", "", "lower end of its 95 % interval", _speedup(_openvino, 0), log=True),
    Number("speedup_vs_openvino_f32_high", "", "upper end of its 95 % interval", _speedup(_openvino, 1), log=True),
    Number(
        PRIMARY,
        "",
        "the primary metric of the workload on val, by its own name",
        lambda record, beside: None if record.quality is None else record.quality.value,
        column=Column(PRIMARY, "{:.4f}"),
        objective="quality",
        larger_is_better=True,
        best_of_front=True,
    ),
    Number(
        "drop",
        "",
        "the primary metric lost on the same cases against the reference: PyTorch FP32, or its stand-in",
        _drop(_val, "value"),
        column=Column("drop", "{:+.4f}"),
    ),
    Number(
        "drop_upper",
        "",
        "one-sided 95 % bound of the drop over patients: what --max-drop limits",
        _drop(_val, "upper"),
        column=Column("at most", "{:+.4f}"),
    ),
    Number(
        "drop_p_value",
        "",
        "Wilcoxon's signed-rank test of the drop over patients, a second opinion",
        _drop(_val, "p_value"),
    ),
    Number(
        "test_drop",
        "",
        "the drop on test, where the trial was confirmed there",
        _drop(_test, "value"),
        column=Column("on test", "{:+.4f}"),
    ),
    Number("test_drop_upper", "", "its one-sided 95 % bound over patients", _drop(_test, "upper")),
    Number("test_drop_p_value", "", "its Wilcoxon signed-rank test over patients", _drop(_test, "p_value")),
    Number(
        "front_probability",
        "",
        "the probability to be on the front, given the noise of all numbers",
        lambda record, beside: beside.front_probability,
        column=Column("on front", "{:.0%}"),
    ),
    Number(
        "peak_rss_mb",
        "MB",
        "the most memory that the measuring process held (1e6 bytes)",
        _measured(lambda measured: float(measured.peak_rss_bytes)),
        1e-6,
        Column("peak MB", "{:.0f}"),
        objective="memory",
        log=True,
    ),
    Number(
        "size_mb",
        "MB",
        "the graph files (1e6 bytes)",
        _measured(lambda measured: float(measured.artifact_bytes)),
        1e-6,
        Column("size MB", "{:.2f}"),
        objective="size",
        log=True,
    ),
    Number(
        "latency_raw_p25_ms",
        "ms",
        "the 25th percentile of the calls as they came",
        _measured(lambda measured: measured.raw_p25_s),
        1e3,
        log=True,
    ),
    Number("latency_p50_ms", "ms", "median latency", _measured(lambda measured: measured.latency_p50_s), 1e3, log=True),
    Number(
        "latency_p95_ms", "ms", "95th percentile", _measured(lambda measured: measured.latency_p95_s), 1e3, log=True
    ),
    Number(
        "latency_p99_ms", "ms", "99th percentile", _measured(lambda measured: measured.latency_p99_s), 1e3, log=True
    ),
    Number(
        "throughput_per_s",
        "calls/s",
        "calls per second, one after the other",
        _measured(lambda measured: measured.throughput_per_s),
        log=True,
        larger_is_better=True,
    ),
    Number(
        "cpu_ms_per_call",
        "ms",
        "CPU time of a call: two busy threads spend twice the wall time",
        _measured(lambda measured: measured.cpu_per_call_s),
        1e3,
        log=True,
    ),
    Number("load_ms", "ms", "load and compile", _measured(lambda measured: measured.load_s), 1e3, log=True),
    Number("first_call_ms", "ms", "the first call", _measured(lambda measured: measured.first_call_s), 1e3, log=True),
    Number(
        "energy_mj_per_call",
        "mJ",
        "energy of the processor per call, where the host tells",
        _measured(lambda measured: measured.energy_j),
        1e3,
        log=True,
    ),
    Number("gmacs", "1e9", "multiply-accumulates of a call", _cost("macs"), 1e-9, log=True),
    Number("weights_m", "1e6", "numbers in the weights of its layers", _cost("weights"), 1e-6, log=True),
    Number(
        "roofline_fraction",
        "",
        "the attained share of what this host can do at best, where `doctor --noise` measured that",
        lambda record, beside: beside.roofline,
    ),
    Number(
        "processes",
        "",
        "fresh processes that were measured",
        _measured(lambda measured: float(measured.processes)),
    ),
)
NUMBERS: dict[str, Number] = {number.key: number for number in _ROWS}
"""All numbers by key, in the order of tables and files; one more is a line here, from outside too."""


def objectives() -> dict[str, Number]:
    """What `--objectives` may list: the numbers that may be optimised, by the name of their objective."""
    return {number.objective: number for number in NUMBERS.values() if number.objective}


def headline(record: TrialRecord, primary: str, beside: Comparison = ALONE) -> dict[str, float]:
    """The numbers of a record by key, each in its unit, and every metric by its own name; only those that exist."""
    declared = {
        number.name(primary): value for number in NUMBERS.values() if (value := number.of(record, beside)) is not None
    }
    return declared | metric_values(record)


def metric_values(record: TrialRecord) -> dict[str, float]:
    """Every metric of a trial by its own name, with `TEST` before it where it was scored on test."""
    on_val = {} if record.quality is None else dict(record.quality.values)
    on_test = {} if record.test is None else {f"{TEST}{name}": value for name, value in record.test.values.items()}
    return {**on_val, **on_test}
