"""Which trial `autoopt pull` picks for limits on latency and drop: all answers that sliders can ask for, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoopt.core import pareto
from autoopt.core.records import TrialRecord
from autoopt.deploy.pick import candidate
from autoopt.deploy.policies import POLICIES
from autoopt.study.limit_arguments import LimitArguments
from autoopt.study.limits import RELATIVE_DROP, limit
from autoopt.study.result import StudyResult

MOST_STOPS = 24
"""Stops of a slider at most: more are not told apart on a screen."""
DIGITS = 4


@dataclass(frozen=True)
class Stop:
    """A place of a slider: the option as it is typed, and the bound that it means, in SI units."""

    option: str
    bound: float


@dataclass(frozen=True)
class Choices:
    """The stops of both sliders, narrow to wide, and by policy the number of the trial that is picked.

    `own` are the places of the study's own limits, else of the widest stops. `picked[policy][latency][drop]` is None
    where no trial keeps the limits.
    """

    latencies: tuple[Stop, ...]
    drops: tuple[Stop, ...]
    own: tuple[int, int]
    picked: dict[str, list[list[int | None]]]


@dataclass(frozen=True)
class _Bounded:
    """A trial that limits on latency and drop may let in, with the bounds that they look at."""

    record: TrialRecord
    latency: float
    drop: float


def choices(result: StudyResult) -> Choices | None:
    """What `autoopt pull` answers for each pair of stops; the other limits of the study stay.

    A stop lies a little above the bound of a trial, so that every stop lets one more in. None where no trial has both.
    """
    latency, drop = _names(result)
    members = _members(result, latency, drop)
    if not members:
        return None
    latencies = _stops(latency, [item.latency for item in members], own=result.card.limits.get(latency))
    drops = _stops(drop, [max(item.drop, 0.0) for item in members], own=result.card.limits.get(drop), most=1.0)
    if not latencies or not drops:
        return None
    points = result.points(tuple(item.record for item in members))
    known: dict[bytes, dict[str, int | None]] = {}
    rows: dict[str, list[list[int | None]]] = {pick: [] for pick in POLICIES}
    for most_s in latencies:
        answers = [_answer(result, members, points, most_s.bound, most.bound, known) for most in drops]
        for pick, found in rows.items():
            found.append([answer[pick] for answer in answers])
    own = [_place(stops, result.card.limits.get(name)) for name, stops in ((latency, latencies), (drop, drops))]
    return Choices(latencies, drops, (own[0], own[1]), rows)


def _place(stops: Sequence[Stop], own: float | None) -> int:
    """Where the study's own limit is among the stops."""
    places = [place for place, stop in enumerate(stops) if own is not None and math.isclose(stop.bound, own)]
    return places[0] if places else len(stops) - 1


def _names(result: StudyResult) -> tuple[str, str]:
    """The limits that --max-latency and --max-drop set: a share where the own limit of the drop is one."""
    less = result.card.less_is_better
    (latency,) = LimitArguments(max_latency_s=1.0).limits(less_is_better=less)
    (drop,) = LimitArguments(max_drop="50%" if RELATIVE_DROP in result.card.limits else 0.5).limits(less_is_better=less)
    return latency, drop


def _members(result: StudyResult, latency: str, drop: str) -> list[_Bounded]:
    """All trials that may ever be picked: those that no other beats in all objectives while keeping what they keep."""
    card = result.card
    asked = LimitArguments(max_latency_s=1.0, max_drop=0.5).over(card.limits, less_is_better=card.less_is_better)
    others = {name: bound for name, bound in asked.items() if name not in (latency, drop)}
    found = []
    for record in replace(result, card=replace(card, limits=others)).complete:
        bounds = [limit(name).read(record, result.reference, result.sigma) for name in (latency, drop)]
        if all(bound is not None and math.isfinite(bound) for bound in bounds):
            found.append(_Bounded(record, *(float(bound) for bound in bounds if bound is not None)))
    if not found:
        return []
    points = result.points(tuple(item.record for item in found))
    array = np.array([[item.latency, item.drop] for item in found])
    return [item for place, item in enumerate(found) if not _is_beaten(place, points, array)]


def _is_beaten(place: int, points: np.ndarray, bounds: np.ndarray) -> bool:
    within = np.all(bounds <= bounds[place], axis=1)
    return bool(np.any(within & np.all(points <= points[place], axis=1) & np.any(points < points[place], axis=1)))


def _stops(name: str, bounds: Sequence[float], *, own: float | None, most: float = math.inf) -> tuple[Stop, ...]:
    """A stop just above each of `bounds` to `most`, and one at the study's own limit; see `MOST_STOPS`."""
    one = limit(name)
    texts = sorted({f"{_above(bound * one.scale):g}" for bound in bounds if bound <= most}, key=float)
    if len(texts) > MOST_STOPS:
        texts = [texts[place] for place in np.linspace(0, len(texts) - 1, MOST_STOPS).round().astype(int)]
    texts += [] if own is None else [f"{own * one.scale:.12g}"]
    ordered = sorted({float(text): text for text in texts}.items())
    return tuple(Stop(one.option.format(text), number / one.scale) for number, text in ordered)


def _above(value: float) -> float:
    """`value` with a few digits, never smaller."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - DIGITS + 1)
    return math.ceil(value / unit * (1 + 1e-9)) * unit


def _answer(
    result: StudyResult,
    members: Sequence[_Bounded],
    points: np.ndarray,
    most_s: float,
    most_drop: float,
    known: dict[bytes, dict[str, int | None]],
) -> dict[str, int | None]:
    """What each policy picks of the members within the bounds."""
    within = np.array([item.latency <= most_s and item.drop <= most_drop for item in members])
    key = within.tobytes()
    if key not in known:
        kept = [item.record for item, fits in zip(members, within, strict=True) if fits]
        known[key] = _picked(result, kept, points[within])
    return known[key]


def _picked(result: StudyResult, records: Sequence[TrialRecord], points: np.ndarray) -> dict[str, int | None]:
    if not records:
        return dict.fromkeys(POLICIES)
    front = [record for record, stays in zip(records, pareto.front(points), strict=True) if stays]
    front.sort(key=lambda record: (record.measured.latency_p25_s, record.number))
    candidates = [candidate(record, result) for record in front]
    return {pick: policy(candidates, result.card.objectives).number for pick, policy in POLICIES.items()}
