"""Answer limits and a policy from the tags of a registry: the same words as for a study, without the study."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from autoopt.core import pareto
from autoopt.core.plain_text import short
from autoopt.deploy.nothing_fits import NEAREST, headline_text
from autoopt.deploy.pick import check_asked, default_pick
from autoopt.deploy.policies import POLICIES, REASONS
from autoopt.deploy.registered import CPU, STUDY, Registered, key_of
from autoopt.errors import NothingFits, TrackingError, UsageError
from autoopt.study.limit_arguments import LimitArguments
from autoopt.study.limits import ERROR, in_words, limit

DEMO_WORDS = "DEMO: made from synthetic data. Not for patients."


def choose_registered(
    name: str,
    versions: Sequence[Registered],
    asked: LimitArguments,
    *,
    pick: str | None = None,
    host: str | None = None,
    study: str | None = None,
    here: Callable[[], str] = lambda: "",
) -> tuple[Registered, str]:
    """The version of the registered model `name` that keeps the limits and that the policy takes, and why that one.

    Only numbers that can be compared are: of one host, one data set and one set of weights, those of the newest
    version. Real data comes before demo data. `host` and `study` narrow it down; without `host` it is the one that
    `here` names, where several were measured. Raises NothingFits naming what comes nearest, TrackingError where nothing
    is registered, UsageError where the host has to be named.
    """
    check_asked(asked, pick)
    members = _comparable(name, versions, host, study, here)
    limits = asked.limits(less_is_better=ERROR in members[0].numbers["limits"])
    fitting = [item for item in members if not _misses(item, limits)]
    if not fitting:
        raise NothingFits(_nothing_fits(name, members, limits))
    pick = pick or default_pick(asked)
    names = fitting[0].numbers["objectives"]
    points = np.array([[item.numbers["minimised"][key] for key in names] for item in fitting], np.float64)
    front = [item for item, keep in zip(fitting, pareto.front(points), strict=True) if keep]
    taken = POLICIES[pick]([item.candidate for item in front], names)
    chosen = next(item for item in front if item.version == taken.number)
    reason = REASONS.get(pick, f"{pick} takes it").format(primary=chosen.numbers["primary"])
    within = f" with {in_words(limits)}" if limits else ""
    count = f"{len(front)} member{'s' if len(front) != 1 else ''} of the front of {name}{within}"
    return chosen, f"picked {chosen.text} by policy {pick}: of the {count}, {reason}. {told(chosen)}"


def told(one: Registered) -> str:
    """The numbers of a version, the host that they were measured on, and that its data is synthetic where it is."""
    if not one.numbers:
        return f"Nothing is known of its numbers: its tags were not written by autoopt, or changed.{_demo(one)}"
    numbers = headline_text(one.numbers["headline"], one.numbers["primary"])
    return f"{numbers}; measured on host {short_host(one)}, the numbers hold for that host only.{_demo(one)}"


def short_host(one: Registered) -> str:
    """The host of a version: fingerprint and processor."""
    return f"{one.host} ({one.tags.get(CPU, 'processor unknown')})"


def _demo(one: Registered) -> str:
    return f" {DEMO_WORDS}" if one.demo else ""


def _comparable(
    name: str, versions: Sequence[Registered], host: str | None, study: str | None, here: Callable[[], str]
) -> list[Registered]:
    """The versions whose numbers can be compared, one of each content, oldest first."""
    ours = [item for item in sorted(versions, key=lambda item: item.version) if item.ours]
    wanted = [item for item in ours if host in (None, item.host) and study in (None, item.tags.get(STUDY))]
    if not wanted:
        narrow = [f"--host {short(host)}"] if host is not None else []
        narrow += [f"--study {short(study)}"] if study is not None else []
        if ours and narrow:
            known = ", ".join(sorted({f"{item.tags.get(STUDY)} on {item.host}" for item in ours}))
            raise UsageError(f"{name} has no version of {' and '.join(narrow)}: it has {known}")
        raise TrackingError(
            f"{name} has no version that autoopt registered: run autoopt register where it was searched"
        )
    real = [item for item in wanted if not item.demo]
    wanted = real or wanted
    hosts = sorted({item.host for item in wanted})
    if len(hosts) > 1:
        fingerprint = here()
        if fingerprint not in hosts:
            shown = ", ".join(sorted({short_host(item) for item in wanted}))
            raise UsageError(
                f"{name} was measured on {len(hosts)} hosts, numbers hold for one: give --host, of {shown}"
            )
        wanted = [item for item in wanted if item.host == fingerprint]
    newest = wanted[-1].group
    first: dict[tuple[str, ...], Registered] = {}
    for item in wanted:
        if item.group == newest and item.numbers["objectives"] == wanted[-1].numbers["objectives"]:
            first.setdefault(key_of(item.tags), item)
    return list(first.values())


def _misses(one: Registered, limits: Mapping[str, float]) -> dict[str, float]:
    """By how much a version breaks each limit that it does not keep; infinity where it tells nothing of it."""
    found = {}
    for name, bound in limits.items():
        value = one.numbers["limits"].get(name)
        excess = math.inf if value is None else limit(name).excess(value, bound)
        if excess > 0:
            found[name] = excess
    return found


def _nothing_fits(name: str, members: Sequence[Registered], limits: Mapping[str, float]) -> str:
    """That no version keeps the limits, which limit to loosen to what, and what comes nearest."""
    misses = {item.version: _misses(item, limits) for item in members}
    advice = []
    for key in sorted(limits):
        alone = [item for item in members if set(misses[item.version]) == {key} and key in item.numbers["limits"]]
        if alone:
            best = min(alone, key=lambda item: (misses[item.version][key], item.version))
            asked = limit(key).asked(best.numbers["limits"][key])
            advice.append(f"{limit(key).title} binds, with {asked} version {best.version} fits")
    said = "; or ".join(advice) or "loosening one limit alone lets none in"
    lines = [f"no version of {name} keeps {in_words(limits)}: {said}", "Nearest:"]
    near = sorted(members, key=lambda item: (_distance(misses[item.version], limits), item.version))
    for item in near[:NEAREST]:
        missed = [_missed(key, value) for key, value in sorted(misses[item.version].items())]
        numbers = headline_text(item.numbers["headline"], item.numbers["primary"])
        lines.append(f"  {item.text}: {numbers}; {' and '.join(missed)}{_demo(item)}")
    return "\n".join(lines)


def _missed(name: str, excess: float) -> str:
    one = limit(name)
    if math.isinf(excess):
        return f"tells nothing of {one.title}"
    return f"misses {one.title} by {one.number(excess, '.3g' if one.unit else '.4f')}"


def _distance(misses: Mapping[str, float], limits: Mapping[str, float]) -> float:
    """The excess over the limit that is missed most, as a fraction of that limit."""
    return max(
        (value / max(abs(limits[name]), 1e-3 if limit(name).unit == "" else 1e-12) for name, value in misses.items()),
        default=0.0,
    )
