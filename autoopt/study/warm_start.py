"""The fronts of earlier studies, as the first points that a search tries after its seeds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from autoopt.compress import graph_steps, net_steps, step
from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration, Scalar
from autoopt.errors import NoStudy, UsageError
from autoopt.study.named import named_study
from autoopt.study.result import StudyResult
from autoopt.study.samplers import Found
from autoopt.study.space import Dimension, Space
from autoopt.study.space.points import RUNTIME

OPTION = "--warm-start"
MOST_NAMED = 3
"""So many settings that do not fit are named; the others are counted."""
_THREADS = f"{RUNTIME}.threads"
_log = logging.getLogger("autoopt")


def earlier_studies(names: Sequence[str], url: str, card: StudyCard) -> tuple[StudyResult, ...]:
    """The studies called so, of the storage at `url`, or HOME/STUDY of another home folder.

    Those of the workload and host of `card` come first, then those of one of both. Raises UsageError with all that do
    not exist, StorageError for a storage that cannot be read.
    """
    found, problems = [], []
    for name in dict.fromkeys(names):
        try:
            found.append(named_study(name, url))
        except NoStudy as error:
            problems.append(f"{OPTION} must name a stored study, as STUDY or HOME/STUDY, got {name!r}: {error}")
    if problems:
        raise UsageError(*problems)

    def unlike(study: StudyResult) -> int:
        return (study.card.workload != card.workload) + (study.card.host.fingerprint != card.host.fingerprint)

    return tuple(sorted(found, key=unlike))


def first_points(
    space: Space, studies: Sequence[StudyResult], *, on_remark: Callable[[str], None] = _log.warning
) -> tuple[Found, ...]:
    """The points of the fronts of `studies` that are points of `space` too, none twice.

    Only the number of threads may be another one, the nearest that there is. `on_remark` is told of each study in a
    sentence what does not fit, and why.
    """
    found: dict[str, Found] = {}
    for study in studies:
        fitting, why = 0, dict[str, None]()
        for record in study.front:
            point, problems = _in_space(space, record.configuration)
            if point is None:
                why |= dict.fromkeys(problems)
            else:
                fitting += 1
                found.setdefault(point[1].digest, point)
        if fitting < len(study.front) or not study.front:
            on_remark(_remark(study, fitting, list(why)))
    return tuple(found.values())


def _remark(study: StudyResult, fitting: int, why: Sequence[str]) -> str:
    count = len(study.front)
    if not count:
        return f"{OPTION}: study {study.card.name} has no front to begin with"
    named, more = "; ".join(why[:MOST_NAMED]), len(why) - MOST_NAMED
    rest = f"; and {more} more" if more > 0 else ""
    return (
        f"{OPTION}: {count - fitting} of {count} members of the front of study {study.card.name} are no points of this "
        f"space and are left out ({named}{rest})"
    )


def _in_space(space: Space, configuration: Configuration) -> tuple[Found | None, list[str]]:
    """The point of the space that means the configuration; None, and what the space lacks, where there is none."""
    wanted = configuration.flat()
    raw: dict[str, Scalar] = {}
    problems = []
    for dimension in space.dimensions:
        value = wanted.get(dimension.name)
        if dimension.name == _THREADS and dimension.name in wanted:
            raw[dimension.name] = dimension.nearest(value)
        elif dimension.name in wanted or dimension.name in _switches():
            raw[dimension.name] = value
            if not dimension.has(value):
                problems.append(f"{dimension.name} {'off' if value is None else value}")
        else:
            raw[dimension.name] = _any_of(dimension)  # it has no effect there
    if problems:
        return None, problems
    point = space.canonical(raw)
    differing = sorted(_differing(wanted, point.flat()))
    return ((raw, point), []) if not differing else (None, differing)


def _differing(wanted: dict[str, Scalar], got: dict[str, Scalar]) -> Iterator[str]:
    for name in wanted.keys() | got.keys():
        if name != _THREADS and wanted.get(name) != got.get(name):
            value = wanted.get(name)
            yield f"{name} {'off' if value is None else value}"


def _switches() -> set[str]:
    return {f"{name}.{step(name).SWITCH}" for name in (*net_steps(), *graph_steps())}


def _any_of(dimension: Dimension) -> Scalar:
    return dimension.values()[0]
