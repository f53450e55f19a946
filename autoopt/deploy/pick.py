"""From a study to a folder: pick one member of the front by policy, then write it as a bundle."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autoopt import __version__
from autoopt.core import pareto
from autoopt.core.measurement import Measurement
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import Quality
from autoopt.core.store import KIND, Store
from autoopt.deploy.bundle import write_bundle
from autoopt.errors import BundleError, NothingFits, UsageError
from autoopt.inference.pipeline import Pipeline
from autoopt.study.limits import violations
from autoopt.study.numbers import objectives
from autoopt.study.result import StudyResult
from autoopt.study.short_names import describe
from autoopt.study.space import configured

PICKS = ("fastest", "balanced", "best-quality", "smallest")
NEAREST = 3
"""How many of the nearest members a `NothingFits` names."""
_TINY_DROP = 0.001  # misses of a drop limit of zero are compared with this


@dataclass(frozen=True)
class Choice:
    """One member of the front and why it was picked; `limits` are those that held for the pick."""

    record: TrialRecord
    explanation: str
    pick: str = "balanced"
    limits: Mapping[str, float] | None = None


def choose(
    result: StudyResult,
    *,
    max_latency_s: float | None = None,
    max_drop: float | None = None,
    pick: str | None = None,
) -> Choice:
    """Pick a member of the front within the limits; a limit that is not given stays the study's own.

    `pick` is fastest, balanced (the knee of the front, latency in log), best-quality or smallest. Without
    it the number that was not limited is optimised: only `max_drop` given picks the fastest, only
    `max_latency_s` the best quality, both or none the balanced one. Ties go to the smaller latency, then
    the better quality, the smaller files, the earlier trial. Raises NothingFits naming the limit that binds.
    """
    _check_arguments(max_latency_s, max_drop, pick)
    given = {"drop": max_drop, "latency_s": max_latency_s}
    limits = {**result.card.limits, **{name: value for name, value in given.items() if value is not None}}
    within = replace(result, card=replace(result.card, limits=limits))
    if not within.front:
        raise NothingFits(nothing_fits(within))
    pick = pick or default_pick(max_latency_s, max_drop)
    record = POLICIES[pick](within)
    return Choice(record, _explanation(within, record, pick), pick, limits)


def default_pick(max_latency_s: float | None, max_drop: float | None) -> str:
    """The policy when none is named: what the limits leave open is made as good as it can be."""
    if (max_latency_s is None) == (max_drop is None):
        return "balanced"
    return "fastest" if max_latency_s is None else "best-quality"


def pull(result: StudyResult, choice: Choice, store: Store, out: Path) -> Path:
    """Write the chosen trial to `out` as a bundle, its artifact verified; returns the folder.

    Raises BundleError when the artifact is gone from the store, StorageError when it was altered.
    """
    record, card = choice.record, result.card
    artifact = store.get(KIND, record.artifacts[-1]) if record.artifacts else None
    if artifact is None:
        raise BundleError(
            f"the artifact of trial #{record.number} must be in {store.root}, it is not: "
            f"make it again with `autoopt replay {card.name}/{record.number}`"
        )
    store.verify(artifact)
    settings = record.configuration.runtime
    pipeline = configured(Pipeline.from_json(card.pipeline), choice.record.configuration)
    return write_bundle(out, artifact, settings, pipeline, card.labels, _facts(result, choice))


def _check_arguments(max_latency_s: float | None, max_drop: float | None, pick: str | None) -> None:
    problems = []
    if max_latency_s is not None and not max_latency_s > 0:
        problems.append(f"--max-latency must be longer than nothing, got {max_latency_s:g} s")
    if max_drop is not None and not 0 <= max_drop <= 1:
        problems.append(f"--max-drop must be a fraction from 0 to 1, got {max_drop:g}")
    if pick is not None and pick not in PICKS:
        problems.append(f"--pick must be one of {', '.join(PICKS)}, got {pick!r}")
    if problems:
        raise UsageError(*problems)


def _latency_s(record: TrialRecord) -> float:
    return objectives()["latency"].minimised(record)


def _loss(record: TrialRecord) -> float:
    return objectives()["quality"].minimised(record)


def _bytes(record: TrialRecord) -> float:
    return objectives()["size"].minimised(record)


def _fastest(result: StudyResult) -> TrialRecord:
    return min(result.front, key=lambda r: (_latency_s(r), _loss(r), _bytes(r), r.number))


def _best_quality(result: StudyResult) -> TrialRecord:
    return min(result.front, key=lambda r: (_loss(r), _latency_s(r), _bytes(r), r.number))


def _smallest(result: StudyResult) -> TrialRecord:
    return min(result.front, key=lambda r: (_bytes(r), _latency_s(r), _loss(r), r.number))


def _balanced(result: StudyResult) -> TrialRecord:
    members = tuple(sorted(result.front, key=lambda r: (_latency_s(r), _loss(r), _bytes(r), r.number)))
    return members[pareto.knee(result.log_points(members))]


POLICIES: dict[str, Callable[[StudyResult], TrialRecord]] = {
    "fastest": _fastest,
    "balanced": _balanced,
    "best-quality": _best_quality,
    "smallest": _smallest,
}
"""Name to policy: picks from a front that is not empty."""
_REASONS = {
    "fastest": "it has the smallest p25 latency",
    "balanced": "it is the knee of the front, beyond which each gain costs more than it brings",
    "best-quality": "it has the best {primary}",
    "smallest": "it has the smallest files",
}


def _explanation(result: StudyResult, record: TrialRecord, pick: str) -> str:
    limits = _limits_text(result.card.limits)
    count = len(result.front)
    members = f"{count} member{'s' if count != 1 else ''} of the front of {result.card.name} ({result.card.title})"
    reason = _REASONS[pick].format(primary=result.card.primary)
    return (
        f"picked trial #{record.number} ({describe(record.configuration)}) by policy {pick}: of the {members}"
        f"{' with ' + limits if limits else ''}, {reason}. {_numbers_text(result, record)}"
    )


def _numbers_text(result: StudyResult, record: TrialRecord) -> str:
    numbers = result.headline(record)
    words = [f"p25 {numbers['latency_p25_ms']:.3g} ms"]
    for name, text in (("speedup_vs_torch_f32", "PyTorch f32"), ("speedup_vs_openvino_f32", "OpenVINO f32")):
        if name in numbers:
            words.append(f"{numbers[name]:.2f}x {text}")
    words.append(f"{result.card.primary} {numbers[result.card.primary]:.4f}")
    if "drop" in numbers:
        words.append(f"drop {numbers['drop']:+.4f}")
    return ", ".join([*words, f"{numbers['size_mb']:.2f} MB"])


def _limits_text(limits: Mapping[str, float]) -> str:
    return " and ".join(_limit_text(name, value) for name, value in sorted(limits.items()))


def _limit_text(name: str, value: float) -> str:
    return f"p25 latency <= {value * 1e3:.4g} ms" if name == "latency_s" else f"{name} <= {value:.4g}"


def nothing_fits(result: StudyResult) -> str:
    """Which limit binds, what would have to give, and the nearest trials: for a study with an empty front."""
    limits = result.card.limits
    free = replace(result, card=replace(result.card, limits={}))
    if not free.front:
        failed = sum(record.status is Status.FAILED for record in result.records)
        return f"study {result.card.name} has no measured trial to pick: {failed} of its {len(result.records)} failed"
    lines = [f"no trial of {result.card.name} keeps {_limits_text(limits)}: {_binding(free, limits)}", "Nearest:"]
    nearest = sorted(free.front, key=lambda record: (_distance(free, record, limits), record.number))
    for record in nearest[:NEAREST]:
        misses = {name: value for name, value in violations(record, free.reference, limits).items() if value > 0}
        missed = " and ".join(_miss_text(name, value) for name, value in sorted(misses.items()))
        lines.append(
            f"  #{record.number} {describe(record.configuration)}: {_numbers_text(free, record)}; misses {missed}"
        )
    return "\n".join(lines)


def _binding(free: StudyResult, limits: Mapping[str, float]) -> str:
    """The limit that binds is one whose loosening alone lets a trial in."""
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
    # Never empty: the reference keeps every limit but that of latency, and without a reference there is no drop.
    return "; or ".join(advice)


def _distance(result: StudyResult, record: TrialRecord, limits: Mapping[str, float]) -> float:
    """By how much `record` misses the limit it misses most, as a fraction of that limit."""
    excess = violations(record, result.reference, limits)
    return max(
        value / (limits[name] if name == "latency_s" else max(limits[name], _TINY_DROP))
        for name, value in excess.items()
    )


def _limit_name(name: str) -> str:
    return "p25 latency" if name == "latency_s" else name


def _miss_text(name: str, excess: float) -> str:
    return f"p25 latency by {excess * 1e3:.3g} ms" if name == "latency_s" else f"{name} by {excess:.4f}"


def _option(name: str, value: float) -> str:
    """The option that lets a trial with `value` in: rounded up."""
    if name == "latency_s":
        return f"--max-latency {_rounded_up(value * 1e3):g}ms"
    return f"--max-drop {_rounded_up(value):g}" if name == "drop" else f"--guard {name}={_rounded_up(value):g}"


def _rounded_up(value: float) -> float:
    """`value` with three digits, always a little more than it was: what is advised must fit."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.ceil(value / unit * (1 + 1e-9)) * unit:.6g}")


def _facts(result: StudyResult, choice: Choice) -> dict[str, Any]:
    """What bundle.json says of where the model comes from; no paths of this machine."""
    record, card = choice.record, result.card
    measured, quality = record.measurement, record.quality
    assert measured is not None and quality is not None  # it is on the front
    return {
        "workload": card.workload,
        "demo": card.demo,
        "study": card.name,
        "trial": record.number,
        "configuration": record.configuration.sections(),
        "numbers": result.headline(record),
        "quality": _quality_facts(quality),
        "effective": dict(measured.effective),
        "doubts": list(measured.doubts),
        "choice": {"pick": choice.pick, "limits": dict(choice.limits or {}), "explanation": choice.explanation},
        "host": _host_facts(result, measured),
        "versions": {"autoopt": __version__, **card.host.versions},
        "digests": {
            "weights": card.weights_digest,
            "data": card.data_digest,
            "configuration": record.configuration.digest,
            "artifact": record.artifacts[-1],
        },
    }


def _host_facts(result: StudyResult, measured: Measurement) -> dict[str, Any]:
    described = {name: item for name, item in asdict(result.card.host).items() if name != "versions"}
    return {**described, "isa": list(result.card.host.isa), "fingerprint": measured.host}


def _quality_facts(quality: Quality) -> dict[str, Any]:
    return {
        "split": quality.split,
        "primary": quality.primary,
        "rule": quality.rule,
        "cases": len(quality.cases),
        "undefined": dict(quality.undefined),
    }
