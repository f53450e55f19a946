"""What is said when no trial keeps the limits: which limit to loosen, to what, and which trials come nearest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from autoopt.core.records import Status, TrialRecord
from autoopt.study.limits import violations
from autoopt.study.result import StudyResult
from autoopt.study.short_names import describe

NEAREST = 3
"""How many of the nearest trials are named."""
_TINY_DROP = 0.001
"""Stands for a drop limit of zero where the excess is divided by the limit."""


def nothing_fits(result: StudyResult) -> str:
    """For a study with an empty front: the limit that binds, the option that lets a trial in, the nearest trials."""
    limits = result.card.limits
    if result.lacks_reference:
        return _no_reference(result)
    free = replace(result, card=replace(result.card, limits={}))
    if not free.front:
        failed = sum(record.status is Status.FAILED for record in result.records)
        return f"study {result.card.name} has no measured trial to pick: {failed} of its {len(result.records)} failed"
    lines = [f"no trial of {result.card.name} keeps {limits_text(limits)}: {_binding(free, limits)}", "Nearest:"]
    nearest = sorted(free.front, key=lambda record: (_distance(free, record, limits), record.number))
    for record in nearest[:NEAREST]:
        misses = {name: value for name, value in violations(record, free.reference, limits).items() if value > 0}
        missed = " and ".join(_miss_text(name, value) for name, value in sorted(misses.items()))
        lines.append(
            f"  #{record.number} {describe(record.configuration)}: {numbers_text(free, record)}; misses {missed}"
        )
    return "\n".join(lines)


def _no_reference(result: StudyResult) -> str:
    """That no drop is known, why no FP32 seed could be measured, and what to do."""
    failures = [
        f"  #{record.number} {record.label}: {record.failure.cause} in {record.failure.stage}: {record.failure.message}"
        for record in result.records
        if record.origin == "seed" and record.failure is not None
    ]
    asked = f"study {result.card.name} asks for {limits_text(result.card.limits)}"
    lines = [f"no reference: drop unknown; {asked}, and no FP32 seed to compare with was measured:"]
    lines += failures or ["  none was tried yet"]
    return "\n".join([*lines, "Run the same search again: it tries them again first"])


def limits_text(limits: Mapping[str, float]) -> str:
    """The limits in words, such as: drop <= 0.01 and p25 latency <= 10 ms; empty without limits."""
    return " and ".join(_limit_text(name, value) for name, value in sorted(limits.items()))


def numbers_text(result: StudyResult, record: TrialRecord) -> str:
    """The numbers that a choice is made by: latency, speed-ups, quality, drop, size."""
    numbers = result.headline(record)
    words = [f"p25 {numbers['latency_p25_ms']:.3g} ms"]
    others = {"torch_f32": "PyTorch f32", "openvino_f32": "OpenVINO f32", "best_float": "the best float trial"}
    for name, text in ((f"speedup_vs_{key}", text) for key, text in others.items()):
        if name in numbers:
            words.append(f"{numbers[name]:.2f}x {text}")
    words.append(f"{result.card.primary} {numbers[result.card.primary]:.4f}")
    words.append(f"drop {numbers['drop']:+.4f}" if "drop" in numbers else "drop unknown (no reference)")
    return ", ".join([*words, f"{numbers['size_mb']:.2f} MB"])


def rounded_up(value: float) -> float:
    """`value` with three digits, always a little larger than it was, so that what is advised fits; 0 for 0 or less."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.ceil(value / unit * (1 + 1e-9)) * unit:.6g}")


def _binding(free: StudyResult, limits: Mapping[str, float]) -> str:
    """The limits that bind, each with its option: loosening one of them alone lets the named trial in."""
    advice = []
    for name in sorted(limits):
        others = {other: value for other, value in limits.items() if other != name}
        candidates = replace(free, card=replace(free.card, limits=others)).complete
        if candidates:
            excess = {r.number: violations(r, free.reference, limits).get(name, 0.0) for r in candidates}
            number = min(excess, key=lambda key: (excess[key], key))
            advice.append(
                f"{_limit_name(name)} binds, with {_option(name, limits[name] + excess[number])} #{number} fits"
            )
    # Never empty: the reference keeps every limit but that of latency.
    return "; or ".join(advice)


def _distance(result: StudyResult, record: TrialRecord, limits: Mapping[str, float]) -> float:
    """The excess over the limit that `record` misses most, as a fraction of that limit."""
    excess = violations(record, result.reference, limits)
    return max(
        value / (limits[name] if name == "latency_s" else max(limits[name], _TINY_DROP))
        for name, value in excess.items()
    )


def _limit_text(name: str, value: float) -> str:
    return f"p25 latency <= {value * 1e3:.4g} ms" if name == "latency_s" else f"{name} <= {value:.4g}"


def _limit_name(name: str) -> str:
    return "p25 latency" if name == "latency_s" else name


def _miss_text(name: str, excess: float) -> str:
    return f"p25 latency by {excess * 1e3:.3g} ms" if name == "latency_s" else f"{name} by {excess:.4f}"


def _option(name: str, value: float) -> str:
    """The option that lets a trial with `value` in, rounded up."""
    if name == "latency_s":
        return f"--max-latency {rounded_up(value * 1e3):g}ms"
    return f"--max-drop {rounded_up(value):g}" if name == "drop" else f"--guard {name}={rounded_up(value):g}"
