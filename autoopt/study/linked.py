"""One search on two targets: two studies over one store that name each other, and what stays on both fronts.

A model that is on the front of one target is measured on the other one too, as a trial of that one's study. Artifacts
are keyed by what made them, not by where they run: none is made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from autoopt.core.card import LINKED
from autoopt.core.configuration import Configuration, digest
from autoopt.core.host import Host
from autoopt.core.records import TrialRecord
from autoopt.errors import UsageError
from autoopt.inference.runtimes import runtime
from autoopt.measure.remote.address import Address
from autoopt.measure.remote.link import PipeLink
from autoopt.measure.target import LocalTarget
from autoopt.measure.timing import MeasuringPlan
from autoopt.study.again import why_no_member
from autoopt.study.events import Listener, silent
from autoopt.study.loop import Loop
from autoopt.study.prepare import Prepared, argument_problems, prepare
from autoopt.study.proposals import Proposal
from autoopt.study.request import SearchRequest
from autoopt.study.result import StudyResult
from autoopt.study.runner import LocalRunner, Runner
from autoopt.study.sink import Sink, opened
from autoopt.study.storage import read_study
from autoopt.study.study import Study, open_study
from autoopt.workloads.loading import imports_of

MOST_ROUNDS = 3
"""How often both fronts are gone over: what was measured last may be on a front itself."""
Add = Callable[[SearchRequest, Sequence[Configuration], str], StudyResult]
"""Measures configurations as trials of the study of a request, which is linked with the one that is named."""


@dataclass(frozen=True)
class There:
    """A member of the front of one study, and the trial that is the same on the other target.

    `there` is None where it was not measured there; `reasons` say why it has no place on the front there.
    """

    member: TrialRecord
    there: TrialRecord | None
    reasons: tuple[str, ...]

    @property
    def stays(self) -> bool:
        """Whether it has a place on the front there too."""
        return not self.reasons


@dataclass(frozen=True)
class BothFronts:
    """The studies of two targets, each front held against the other."""

    first: StudyResult
    second: StudyResult

    @property
    def studies(self) -> tuple[StudyResult, StudyResult]:
        """Both, in the order of their targets."""
        return self.first, self.second

    @cached_property
    def members(self) -> tuple[tuple[There, ...], tuple[There, ...]]:
        """Of each front the members, fastest first, with what they are on the other target."""
        return _members(self.first, self.second), _members(self.second, self.first)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "studies": [
                {
                    "study": study.card.name,
                    "host": asdict(study.card.host) | {"fingerprint": study.card.host.fingerprint},
                    "target": study.card.origin.get("target"),
                    "linked": study.card.origin.get(LINKED),
                    "front": [
                        {
                            "trial": item.member.number,
                            "there": None if item.there is None else item.there.number,
                            "stays": item.stays,
                            "reasons": list(item.reasons),
                            "numbers": study.headline(item.member),
                            "numbers_there": {} if item.there is None else other.headline(item.there),
                        }
                        for item in items
                    ],
                }
                for study, other, items in zip(self.studies, reversed(self.studies), self.members, strict=True)
            ]
        }


def both_fronts(first: StudyResult, second: StudyResult) -> BothFronts:
    """Two stored studies held against each other. Raises UsageError where their models are not the same."""
    for what, one, other in (
        ("workload", first.card.workload, second.card.workload),
        ("data", first.card.data_digest, second.card.data_digest),
        ("weights", first.card.weights_digest, second.card.weights_digest),
        ("primary metric", first.card.primary, second.card.primary),
    ):
        if one != other:
            raise UsageError(
                f"studies to compare must be of one {what}, {first.card.name} has {one[:12]} and {second.card.name} "
                f"{other[:12]}: `autoopt report {first.card.name} {second.card.name}` shows what differs"
            )
    return BothFronts(first, second)


def on_host(configuration: Configuration, host: Host) -> Configuration:
    """The configuration as it runs on `host`: with no more threads than that has, in a precision that it knows."""
    settings = configuration.runtime
    known = runtime(str(settings["name"]))
    executed = {"name": settings["name"], **known.canonical(settings, host)}
    return Configuration.of({**configuration.sections(), "runtime": executed})


def missing(study: StudyResult, there: StudyResult) -> list[Configuration]:
    """What is on the front of `study` and is no trial of the study `there` yet, as it runs on that one's host."""
    tried = {record.configuration.digest for record in there.records}
    wanted = [on_host(member.configuration, there.card.host) for member in study.front]
    return [item for item in dict.fromkeys(wanted) if item.digest not in tried]


def one_per_target(request: SearchRequest) -> tuple[SearchRequest, ...]:
    """The request for each of its targets; where there are two, both are reached, and all that they need is loaded.

    Raises UsageError for wrong values and for targets that cannot be reached or are alike, before any folder is made;
    then whatever `prepare` raises.
    """
    if len(request.targets) < 2:
        return (request,)
    if problems := argument_problems(request):
        raise UsageError(*problems)
    _check_hosts(request.targets, [*_reached(request.targets)])
    requests = request.each_target()
    for item in requests:
        prepare(item).close()
    return requests


def measure_on_both(requests: Sequence[SearchRequest], studies: Sequence[StudyResult], add: Add) -> BothFronts:
    """Measure each front on the other target where it was not, and link both studies, by `add`."""
    found = list(studies)
    for _ in range(MOST_ROUNDS):
        settled = True
        for here, there in ((0, 1), (1, 0)):
            wanted, name = missing(found[here], found[there]), found[here].card.name
            if wanted or found[there].card.origin.get(LINKED) != name:
                found[there], settled = add(requests[there], wanted, name), False
        if settled:
            break
    return both_fronts(found[0], found[1])


def add_trials(
    request: SearchRequest,
    wanted: Sequence[Configuration],
    linked: str,
    *,
    sinks: Sequence[Sink] = (),
    plan: MeasuringPlan | None = None,
    listener: Listener = silent,
    runner: Runner | None = None,
) -> StudyResult:
    """Measure `wanted` as trials of the study of a request, beyond its budget, and say that it is `linked` with one.

    The study must have been searched. Raises what `study.loop.search` raises.
    """
    with ExitStack() as held:
        if wanted:
            usual = LocalRunner(LocalTarget().host, plan=plan, imports=imports_of(request.workload))
            runner = held.enter_context(runner or usual)
        prepared = held.enter_context(closing(prepare(request)))
        card = replace(prepared.card, origin={**prepared.card.origin, LINKED: linked})
        prepared = replace(prepared, card=card)
        lock = f"study-{digest([prepared.storage_url, card.name])[:16]}"
        held.enter_context(prepared.target.exclusive(lock, wait_s=0))
        before = read_study(prepared.storage_url, card.name)
        for sink in sinks:
            sink.check()
        if not wanted or runner is None:
            study = held.enter_context(open_study(prepared.storage_url, card, prepared.space))
            held.enter_context(opened(sinks, study.result))
            return study.result
        return _run(prepared, before, wanted, runner, sinks, listener, held)


def _run(
    prepared: Prepared,
    before: StudyResult,
    wanted: Sequence[Configuration],
    runner: Runner,
    sinks: Sequence[Sink],
    listener: Listener,
    held: ExitStack,
) -> StudyResult:
    given = [Proposal(configuration, None, LINKED) for configuration in wanted]
    loop = Loop(runner, sinks, budget=len(before.records) + len(given), before=before, listener=listener)
    runner.open(prepared, before, loop.on_stage)
    runner.check()
    study: Study = held.enter_context(open_study(prepared.storage_url, prepared.card, prepared.space, given=given))
    held.enter_context(opened(sinks, study.result))
    loop.run(study)
    study.stay_ended(before)
    return study.result


def _members(study: StudyResult, other: StudyResult) -> tuple[There, ...]:
    tried = {record.configuration.digest: record for record in other.judged}
    found = []
    for member in study.front:
        there = tried.get(on_host(member.configuration, other.card.host).digest)
        reasons = ["it was not measured there"] if there is None else [*why_no_member(there, other)]
        found.append(There(member, there, tuple(reasons)))
    return tuple(found)


def _reached(addresses: Sequence[str]) -> list[Host]:
    """The hosts at these addresses. Raises UsageError with all that cannot be reached."""
    versions, hosts, problems = LocalTarget().host.versions, [], list[str]()
    for address in addresses:
        try:
            with PipeLink(Address.of(address), versions) as link:
                hosts.append(link.hello().host)
        except UsageError as error:
            problems += error.problems
    if problems:
        raise UsageError(*problems)
    return hosts


def _check_hosts(addresses: Sequence[str], hosts: Sequence[Host]) -> None:
    if len({host.fingerprint for host in hosts}) < len(hosts):
        raise UsageError(
            f"two targets must be machines of different kinds, {' and '.join(addresses)} both have the fingerprint "
            f"{hosts[0].fingerprint}: a number measured on one counts on the other, so search one of them"
        )
