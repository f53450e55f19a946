"""The numbers that compare a trial with another one of its study: how many times faster, smaller and cheaper it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter

from autoopt.core import stats
from autoopt.core.measurement import Measurement
from autoopt.core.records import TrialRecord
from autoopt.inference.runtimes import REFERENCE_LABEL
from autoopt.study import intervals, uncertainty
from autoopt.study.intervals import Bounds
from autoopt.study.number import HIGH, LOW, Column, Comparison, Number, with_ends


def _speedup(name: str, what: str, title: str, other: Callable[[Comparison], TrialRecord | None]) -> Iterator[Number]:
    """The ratio of the other's latency to the trial's, with its ends."""

    def compared(record: TrialRecord, beside: Comparison) -> stats.LogRatio | None:
        base = other(beside)
        if base is None or base.measurement is None or record.measurement is None:
            return None
        return uncertainty.slower(base.measurement, record.measurement, beside.sigma)

    def read(record: TrialRecord, beside: Comparison) -> float | None:
        times = compared(record, beside)
        return None if times is None else times.ratio

    def between(record: TrialRecord, beside: Comparison) -> Bounds | None:
        times, base = compared(record, beside), other(beside)
        if times is None or base is None:
            return None
        return intervals.ITSELF if base.number == record.number else times.interval()

    key = f"speedup_vs_{name}"
    low, high = f"{key}{LOW}", f"{key}{HIGH}"
    number = Number(
        key,
        "",
        f"how many times faster than {what}",
        read,
        column=Column(title, "{:.2f}", (low, high), "{:.2f}"),
        log=True,
        larger_is_better=True,
        best_of_front=True,
        interval=between,
    )
    yield from with_ends(number, low, high)


def _torch(beside: Comparison) -> TrialRecord | None:
    reference = beside.reference
    return reference if reference is not None and reference.label == REFERENCE_LABEL else None


def _saving(key: str, title: str, what: str, read: Callable[[Measurement], float]) -> Number:
    """How many times less a trial has of something than the network as it came, which OpenVINO FP32 runs."""

    def ratio(record: TrialRecord, beside: Comparison) -> float | None:
        sides = (beside.openvino_f32 or beside.reference, record)
        base, own = (None if side is None or side.measurement is None else read(side.measurement) for side in sides)
        return base / own if base and own else None  # of what earlier versions measured it is not known

    return Number(
        key,
        "",
        f"how many times {what} than OpenVINO FP32, or the reference where that is not in the study",
        ratio,
        column=Column(title, "{:.2f}"),
        log=True,
        larger_is_better=True,
        interval=intervals.EXACT,
    )


SPEEDUPS: tuple[Number, ...] = (
    *_speedup("torch_f32", "PyTorch FP32", "x PyTorch", _torch),
    *_speedup("openvino_f32", "OpenVINO FP32, the fair comparison on a CPU", "x OpenVINO", attrgetter("openvino_f32")),
    *_speedup(
        "best_float",
        "the fastest complete trial of the study in which nothing is quantized",
        "x float",
        attrgetter("best_float"),
    ),
)
SAVINGS: tuple[Number, ...] = (
    _saving(
        "weights_ratio", "x weights", "fewer numbers in the weights", lambda it: float(it.cost.get("weights") or 0)
    ),
    _saving("macs_ratio", "x MACs", "fewer multiply-accumulates", lambda it: float(it.cost.get("macs") or 0)),
    _saving("size_ratio", "x size", "smaller graph files", lambda it: it.artifact_bytes),
)
"""What was saved, apart: fewer weights are not as many times fewer bytes, and not as many times less time."""
