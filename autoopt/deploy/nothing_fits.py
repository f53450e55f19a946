"""What is said when no trial keeps the limits: which limit to loosen, to what, and which trials come nearest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from autoopt.core.records import Status, TrialRecord
from autoopt.study import words
from autoopt.study.limits import in_words, limit, unknown_of, violations
from autoopt.study.result import StudyResult

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
    if free.complete and (untold := _untold(free, limits)):
        return (
            f"study {result.card.name} tells nothing of {' and '.join(untold)}: no trial of it keeps "
            f"{in_words(limits)}. Search another study with these limits: --study NAME"
        )
    if not free.front:
        failed = sum(record.status is Status.FAILED for record in result.records)
        return f"study {result.card.name} has no measured trial to pick: {failed} of its {len(result.records)} failed"
    if advice := _binding(free, limits):
        lines = [f"no trial of {result.card.name} keeps {in_words(limits)}: {advice}", "Nearest:"]
    else:
        lines = [f"no trial of {result.card.name} keeps {in_words(limits)}, and loosening one limit alone lets none in"]
        lines.append("Nearest by each limit:")
    lines += [_line(free, record, limits) for record in _nearest(free, limits, by_each=not advice)]
    return "\n".join(lines)


def _nearest(free: StudyResult, limits: Mapping[str, float], *, by_each: bool) -> list[TrialRecord]:
    """The members that miss least in all, or the trial that comes nearest to each of the limits."""
    if not by_each:
        return sorted(free.front, key=lambda record: (_distance(free, record, limits), record.number))[:NEAREST]
    excesses = {record.number: violations(record, free.reference, limits, free.sigma) for record in free.complete}
    first = {
        name: min(free.complete, key=lambda record: (excesses[record.number].get(name, math.inf), record.number))
        for name in sorted(limits)
    }
    return list({record.number: record for record in first.values()}.values())


def _line(free: StudyResult, record: TrialRecord, limits: Mapping[str, float]) -> str:
    misses = violations(record, free.reference, limits, free.sigma)
    missed = [_miss_text(name, value) for name, value in sorted(misses.items()) if value > 0]
    unknown = [limit(name).title for name in unknown_of(record, free.reference, limits, free.sigma)]
    said = [f"misses {' and '.join(missed)}"] if missed else []
    said += [f"tells nothing of {' and '.join(unknown)}"] if unknown else []
    numbers = numbers_text(free, record)
    return f"  #{record.number} {words.in_words(record.configuration)}: {'; '.join([numbers, *said])}"


def _untold(free: StudyResult, limits: Mapping[str, float]) -> list[str]:
    """The titles of the limits of which no trial of the study tells anything."""
    told = [unknown_of(record, free.reference, limits, free.sigma) for record in free.complete]
    return [limit(name).title for name in sorted(limits) if all(name in unknown for unknown in told)]


def _no_reference(result: StudyResult) -> str:
    """That no drop is known, why no FP32 seed could be measured, and what to do."""
    failures = [
        f"  #{record.number} {record.label}: {record.failure.cause} in {record.failure.stage}: {record.failure.message}"
        for record in result.records
        if record.origin == "seed" and record.failure is not None
    ]
    asked = f"study {result.card.name} asks for {in_words(result.card.limits)}"
    lines = [f"no reference: drop unknown; {asked}, and no FP32 seed to compare with was measured:"]
    lines += failures or ["  none was tried yet"]
    return "\n".join([*lines, "Run the same search again: it tries them again first"])


def numbers_text(result: StudyResult, record: TrialRecord) -> str:
    """The numbers that a choice is made by: latency, speed-ups, quality, drop, size."""
    return headline_text(result.headline(record), result.card.primary)


def headline_text(numbers: Mapping[str, float], primary: str) -> str:
    """The same from the numbers of a trial by their keys; one that is not there is left out, but for the drop."""
    words = [f"p25 {numbers['latency_p25_ms']:.3g} ms"] if "latency_p25_ms" in numbers else []
    others = {"torch_f32": "PyTorch f32", "openvino_f32": "OpenVINO f32", "best_float": "the best float trial"}
    for name, text in ((f"speedup_vs_{key}", text) for key, text in others.items()):
        if name in numbers:
            words.append(f"{numbers[name]:.2f}x {text}")
    words += [f"{primary} {numbers[primary]:.4f}"] if primary in numbers else []
    words.append(f"drop {numbers['drop']:+z.4f}" if "drop" in numbers else "drop unknown (no reference)")
    return ", ".join([*words, *([f"{numbers['size_mb']:.2f} MB"] if "size_mb" in numbers else [])])


def _binding(free: StudyResult, limits: Mapping[str, float]) -> str:
    """The limits that bind, each with its option: loosening one of them alone lets the named trial in."""
    advice = []
    for name in sorted(limits):
        others = {other: value for other, value in limits.items() if other != name}
        candidates = replace(free, card=replace(free.card, limits=others)).complete
        if candidates:
            found = {r.number: violations(r, free.reference, limits, free.sigma).get(name) for r in candidates}
            excess = {number: value for number, value in found.items() if value is not None}
            if excess:
                number, one = min(excess, key=lambda key: (excess[key], key)), limit(name)
                bound = limits[name] + (-excess[number] if one.at_least else excess[number])
                advice.append(f"{one.title} binds, with {one.asked(bound)} #{number} fits")
    return "; or ".join(advice)


def _distance(result: StudyResult, record: TrialRecord, limits: Mapping[str, float]) -> float:
    """The excess over the limit that `record` misses most, as a fraction of that limit."""
    excess = violations(record, result.reference, limits, result.sigma)
    shares = [
        value / (abs(limits[name]) if limit(name).unit else max(abs(limits[name]), _TINY_DROP))
        for name, value in excess.items()
    ]
    return max(shares, default=math.inf)


def _miss_text(name: str, excess: float) -> str:
    one = limit(name)
    return f"{one.title} by {one.number(excess, '.3g' if one.unit else '.4f')}"
