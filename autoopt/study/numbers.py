"""The numbers of a trial, each declared once: its key, unit, meaning, how it is read, and where it is shown.

One line of `NUMBERS` feeds `StudyResult.headline`, the metrics in MLflow, the tables, `--objectives` and the tables of
docs/mlflow.md. Every metric of the workload is a number besides, under its own name (see `metric_values`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from autoopt.core import stats
from autoopt.core.measurement import Measurement
from autoopt.core.records import TrialRecord
from autoopt.core.scores import Quality
from autoopt.study import intervals, uncertainty
from autoopt.study.intervals import Bounds
from autoopt.study.number import ALONE, HIGH, LOW, PRIMARY, Between, Column, Comparison, Number, Read, with_ends
from autoopt.study.ratios import SAVINGS, SPEEDUPS

TEST = "test_"
"""Before the name of a metric that was scored on test."""


def _measured(read: Callable[[Measurement], float | None]) -> Read:
    return lambda record, beside: None if record.measurement is None else read(record.measurement)


def _of_measured(bounds: Callable[[Measurement, float], Bounds]) -> Between:
    return lambda record, beside: None if record.measurement is None else bounds(record.measurement, beside.sigma)


def _cost(name: str) -> Read:
    return _measured(lambda measured: measured.cost.get(name) or None)  # unknown of what earlier versions measured


def _drop(quality: Callable[[TrialRecord], Quality | None], what: str) -> Read:
    """What the primary metric lost against the reference: its "value", "upper" bound or "p_value"."""

    def read(record: TrialRecord, beside: Comparison) -> float | None:
        after, before = quality(record), None if beside.reference is None else quality(beside.reference)
        if before is None or after is None:
            return None
        if what == "value":
            return before.worth - after.worth
        bounds = uncertainty.drop(before, after)
        return None if bounds is None else bounds.upper if what == "upper" else bounds.p_value

    return read


def _drop_bounds(quality: Callable[[TrialRecord], Quality | None]) -> Between:
    def between(record: TrialRecord, beside: Comparison) -> Bounds | None:
        after, before = quality(record), None if beside.reference is None else quality(beside.reference)
        return None if before is None or after is None else intervals.drop(before, after)

    return between


def _metric(quality: Callable[[TrialRecord], Quality | None]) -> tuple[Read, Between]:
    """The primary metric and its interval."""

    def read(record: TrialRecord, beside: Comparison) -> float | None:
        found = quality(record)
        return None if found is None else found.value

    def between(record: TrialRecord, beside: Comparison) -> Bounds | None:
        found = quality(record)
        return None if found is None else intervals.quality(found, found.primary)

    return read, between


def _percentile(q: float, words: str) -> Iterator[Number]:
    """A percentile of the latency with its ends."""
    key = f"latency_p{100 * q:.0f}"
    number = Number(
        f"{key}_ms",
        "ms",
        words,
        _measured(lambda measured: measured.percentile_s(q)),
        1e3,
        log=True,
        interval=_of_measured(lambda measured, sigma: intervals.percentile(measured, q, sigma)),
    )
    yield from with_ends(number, f"{key}_low_ms", f"{key}_high_ms")


def _val(record: TrialRecord) -> Quality | None:
    return record.quality


def _test(record: TrialRecord) -> Quality | None:
    return record.test


_VALUE, _BETWEEN = _metric(_val)
_TEST_VALUE, _TEST_BETWEEN = _metric(_test)
_MANY_ENDS = ("concurrent_low_per_s", "concurrent_high_per_s")
_ROWS = (
    *with_ends(
        Number(
            "latency_p25_ms",
            "ms",
            "p25 latency of a call, with the host's drift cancelled by the reference that took turns with it",
            _measured(lambda measured: measured.latency_p25_s),
            1e3,
            Column("p25 ms", "{:.2f}", ("latency_low_ms", "latency_high_ms"), "{:.2f}"),
            objective="latency",
            log=True,
            best_of_front=True,
            interval=_of_measured(intervals.latency),
        ),
        "latency_low_ms",
        "latency_high_ms",
    ),
    *SPEEDUPS,
    *with_ends(
        Number(
            PRIMARY,
            "",
            "the primary metric of the workload on val, by its own name",
            _VALUE,
            column=Column(PRIMARY, "{:.4f}", (f"{PRIMARY}{LOW}", f"{PRIMARY}{HIGH}"), "{:.3f}"),
            objective="quality",
            larger_is_better=True,
            worth=lambda record: None if record.quality is None else record.quality.worth,
            best_of_front=True,
            interval=_BETWEEN,
        ),
        f"{PRIMARY}{LOW}",
        f"{PRIMARY}{HIGH}",
    ),
    Number(
        "drop",
        "",
        "the primary metric lost on the same cases against the reference: PyTorch FP32, or its stand-in",
        _drop(_val, "value"),
        column=Column("drop", "{:+z.4f}", ("drop_upper",), "{:+z.4f}"),
        interval=_drop_bounds(_val),
    ),
    Number(
        "drop_upper",
        "",
        "one-sided 95 % bound of the drop over patients: what --max-drop limits",
        _drop(_val, "upper"),
        interval=None,
    ),
    Number(
        "drop_p_value",
        "",
        "Wilcoxon's signed-rank test of the drop over patients, a second opinion",
        _drop(_val, "p_value"),
        interval=None,
    ),
    *with_ends(
        Number(
            f"{TEST}{PRIMARY}",
            "",
            "the same on test, where the trial was confirmed there",
            _TEST_VALUE,
            interval=_TEST_BETWEEN,
        ),
        f"{TEST}{PRIMARY}{LOW}",
        f"{TEST}{PRIMARY}{HIGH}",
    ),
    Number(
        "test_drop",
        "",
        "the drop on test, where the trial was confirmed there",
        _drop(_test, "value"),
        column=Column("on test", "{:+z.4f}", ("test_drop_upper",), "{:+z.4f}"),
        interval=_drop_bounds(_test),
    ),
    Number("test_drop_upper", "", "its one-sided 95 % bound over patients", _drop(_test, "upper"), interval=None),
    Number(
        "test_drop_p_value", "", "its Wilcoxon signed-rank test over patients", _drop(_test, "p_value"), interval=None
    ),
    Number(
        "front_probability",
        "",
        "the probability to be on the front, given the noise of all numbers",
        lambda record, beside: beside.front_probability,
        column=Column("on front", "{:.0%}"),
        interval=None,
    ),
    *with_ends(
        Number(
            "peak_rss_mb",
            "MB",
            "the most memory that a measuring process held (1e6 bytes)",
            _measured(lambda measured: float(measured.peak_rss_bytes)),
            1e-6,
            Column("peak MB", "{:.0f}", ("peak_rss_low_mb", "peak_rss_high_mb"), "{:.0f}"),
            objective="memory",
            log=True,
            interval=_of_measured(lambda measured, sigma: intervals.memory(measured)),
        ),
        "peak_rss_low_mb",
        "peak_rss_high_mb",
        ("that of the process that held least, where several were measured", "that of the one that held most"),
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
        interval=intervals.EXACT,
    ),
    *SAVINGS,
    Number(
        "latency_raw_p25_ms",
        "ms",
        "the 25th percentile of the calls as they came",
        _measured(lambda measured: measured.raw_p25_s),
        1e3,
        log=True,
        interval=intervals.AS_IT_CAME,
    ),
    *_percentile(0.50, "median latency"),
    *_percentile(0.95, "95th percentile"),
    *_percentile(0.99, f"99th percentile; of fewer than {stats.values_needed(0.99)} calls it has no interval"),
    Number(
        "throughput_per_s",
        "calls/s",
        "calls per second, one after the other",
        _measured(lambda measured: measured.throughput_per_s),
        log=True,
        larger_is_better=True,
        interval=intervals.INVERTED,
    ),
    *with_ends(
        Number(
            "concurrent_per_s",
            "calls/s",
            "calls per second while as many run at once as suit the runtime, where throughput was asked for",
            _measured(lambda measured: measured.concurrent_per_s),
            column=Column("calls/s", "{:.1f}", _MANY_ENDS, "{:.1f}", where_known=True),
            objective="throughput",
            log=True,
            larger_is_better=True,
            best_of_front=True,
            interval=_of_measured(intervals.throughput),
        ),
        *_MANY_ENDS,
    ),
    Number(
        "cpu_ms_per_call",
        "ms",
        "CPU time of a call: two busy threads spend twice the wall time",
        _measured(lambda measured: measured.cpu_per_call_s),
        1e3,
        log=True,
        interval=intervals.LEAST,
    ),
    Number(
        "load_ms",
        "ms",
        "load and compile",
        _measured(lambda measured: measured.load_s),
        1e3,
        log=True,
        interval=intervals.LEAST,
    ),
    Number(
        "first_call_ms",
        "ms",
        "the first call",
        _measured(lambda measured: measured.first_call_s),
        1e3,
        log=True,
        interval=intervals.LEAST,
    ),
    Number(
        "energy_mj_per_call",
        "mJ",
        "energy of the processor per call, where the host tells",
        _measured(lambda measured: measured.energy_j),
        1e3,
        Column("mJ", "{:.1f}", where_known=True),
        objective="energy",
        log=True,
        interval=intervals.LEAST,
    ),
    Number("gmacs", "1e9", "multiply-accumulates of a call", _cost("macs"), 1e-9, log=True, interval=intervals.EXACT),
    Number(
        "weights_m",
        "1e6",
        "numbers in the weights of its layers",
        _cost("weights"),
        1e-6,
        log=True,
        interval=intervals.EXACT,
    ),
    Number(
        "roofline_fraction",
        "",
        "the attained share of what this host can do at best, where `doctor --noise` measured that",
        lambda record, beside: beside.roofline,
        interval=intervals.LOWER_BOUND,
    ),
    Number(
        "processes",
        "",
        "fresh processes that were measured",
        _measured(lambda measured: float(measured.processes)),
        interval=None,
    ),
    Number("calls", "", "calls that were timed", _measured(lambda measured: float(measured.calls)), interval=None),
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
    """Every metric of a trial by its own name, with the ends of its interval where it has one.

    `TEST` stands before the names of what was scored on test.
    """
    found: dict[str, float] = {}
    for before, quality in (("", record.quality), (TEST, record.test)):
        for name, value in ({} if quality is None else quality.values).items():
            found[f"{before}{name}"] = value
            ends = intervals.quality(quality, name) if quality is not None else ""
            if not isinstance(ends, str):
                found |= {f"{before}{name}{LOW}": ends[0], f"{before}{name}{HIGH}": ends[1]}
    return found


def without_interval(record: TrialRecord, primary: str, beside: Comparison = ALONE) -> dict[str, str]:
    """Why numbers of a record have no interval, by their key: all that exist and lack one."""
    reasons = {number.name(primary): number.why_no_interval(record, beside) for number in NUMBERS.values()}
    for before, quality in (("", record.quality), (TEST, record.test)):
        if quality is not None:
            found = {name: intervals.quality(quality, name) for name in quality.values}
            reasons |= {f"{before}{name}": why for name, why in found.items() if isinstance(why, str)}
    return {key: reason for key, reason in reasons.items() if reason}
