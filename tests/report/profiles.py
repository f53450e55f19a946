"""Planted profiles, and explanations of them, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.host import Host
from autoopt.core.measurement import Measurement
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import Quality
from autoopt.inference.runtimes.layers import Layer
from autoopt.measure.profiling import Profile
from autoopt.report.diagnosis import explained
from autoopt.report.explanation import Explanation, Side
from autoopt.study.result import StudyResult

QUANTIZE: dict[str, Scalar] = {"scheme": "int8", "preset": "performance"}
HOST = Host("a cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {})


def card() -> StudyCard:
    return StudyCard("study", "tiny", True, "dice", "d", "w", "{}", ("latency", "quality"), 0, HOST)


def record(
    number: int,
    runtime: str = "openvino",
    *,
    quantize: bool = False,
    latency_s: float | None = 0.05,
    label: str = "",
    **settings: Scalar,
) -> TrialRecord:
    sections: dict[str, Any] = {"runtime": {"name": runtime, "threads": 2, "precision": "f32", **settings}}
    if quantize:
        sections["quantize"] = QUANTIZE
    measured = None
    if latency_s is not None:
        measured = Measurement((((latency_s,) * 4,),), ((),), (latency_s,), 0.1, 0.1, 10**8, 10**6, {}, "host")
    return TrialRecord(
        Configuration.of(sections),
        Status.COMPLETE,
        number=number,
        label=label,
        artifacts=("key",),
        origin="seed",
        measurement=measured,
        quality=Quality("val", "dice", "mean", {"dice": 0.9}, ()),
    )


def conv(index: int, ms: float, precision: str, **fields: Any) -> Layer:
    name = f"block_{index}.conv/Conv"
    return Layer(
        f"{name}/WithoutBiases", "Convolution", f"jit_{precision}", precision, ms / 1e3, origins=(name,), **fields
    )


def norm(index: int, ms: float) -> Layer:
    return Layer(f"block_{index}.norm/InstanceNormalization", "MVN", "jit_f32", "f32", ms / 1e3)


def reorder(index: int, ms: float) -> Layer:
    return Layer(f"reorder_{index}", "Reorder", "jit_i8", "i8", ms / 1e3, conversion=True)


def explain(
    mine: Sequence[Layer],
    theirs: Sequence[Layer] | None,
    *,
    recorded: tuple[float, float] | None = None,
    quantize: bool = True,
    others: Sequence[TrialRecord] = (),
) -> Explanation:
    """An explanation of planted layers, whose sum is what a call takes, now and in the study."""
    mine_s, theirs_s = (sum(layer.seconds for layer in layers or ()) for layers in (mine, theirs))
    then = recorded or (mine_s, theirs_s)
    trial = Side(record(2, quantize=quantize, latency_s=then[0]), Profile(tuple(mine), mine_s))
    against = Side(record(1, latency_s=then[1]), Profile(tuple(theirs or ()), theirs_s))
    study = StudyResult(card(), (trial.record, against.record, *others))
    return explained(study, trial, None if theirs is None else against)


FLOAT = [layer for index in range(4) for layer in (conv(index, 8, "f32"), norm(index, 2))]
CONVERTED = [
    layer
    for index in range(4)
    for layer in (conv(index, 5, "i8"), reorder(2 * index, 4), norm(index, 2), reorder(2 * index + 1, 4))
]
