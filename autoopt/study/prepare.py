"""A request checked, and what it names loaded: whatever is wrong is found here, before anything is written."""

from __future__ import annotations

import math
import os
import resource
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from autoopt.compress.maker import stages
from autoopt.core.card import StudyCard
from autoopt.core.configuration import Scalar, digest
from autoopt.core.host import Host
from autoopt.core.store import Store, writable_folder
from autoopt.errors import DataError, SpaceError, StorageError, UsageError, WeightsError
from autoopt.measure.noise import calibration
from autoopt.measure.quality import primary_sign, try_own_metrics
from autoopt.measure.remote.address import Address
from autoopt.measure.remote.link import Link, PipeLink
from autoopt.measure.remote.station import RemoteStation
from autoopt.measure.station import LocalStation, Station
from autoopt.measure.target import STAGE, LocalTarget, Target
from autoopt.nets.weight_parts import digest_of_all
from autoopt.nets.weights import find_weights, remark_on
from autoopt.study.limit_arguments import LimitArguments
from autoopt.study.limits import GUARDS, LABEL, LABEL_METRIC, SUBGROUP, is_guard
from autoopt.study.numbers import objectives
from autoopt.study.request import HOME, SearchRequest
from autoopt.study.result import StudyResult
from autoopt.study.samplers import SAMPLERS
from autoopt.study.space import Space, load_space, shipped_spaces
from autoopt.study.space.elsewhere import measured_elsewhere
from autoopt.study.warm_start import earlier_studies
from autoopt.workloads.contract import Workload
from autoopt.workloads.loading import MODEL, load_workload

MOST = 4
"""Objectives of a search: with more nearly every trial is on the front."""
MOST_TARGETS = 2
"""Machines that one command searches, one after the other."""
LONGEST_FILE_BYTES = 504
"""Of the whole path of a SQLite file: with the name of its journal that is the most it takes."""
LEAST_ADDRESS_SPACE_BYTES = 4_000_000_000
"""Address space for a process with torch or a runtime: 2.6 GB were seen, of which it uses a third."""
LEAST_FREE_BYTES = 500_000_000
"""Free disk space that a search needs before it starts: a few dozen artifacts of a small network."""


@dataclass(frozen=True)
class Prepared:
    """A request and everything that it names, loaded: what a search, a plan and a replay begin with.

    `builder` is the host that makes artifacts, `target` the machine that measures them.
    """

    request: SearchRequest
    workload: Workload
    weights: Path
    builder: Host
    target: Target
    space: Space
    card: StudyCard
    store: Store
    storage_url: str
    earlier: tuple[StudyResult, ...] = ()
    """The studies whose fronts are tried first."""
    link: Link | None = None
    """The way to the machine that measures, where that is not this one."""

    @cached_property
    def station(self) -> Station[Any, Any]:
        """Where trials are measured."""
        if self.link is None:
            return LocalStation(self.target)
        return RemoteStation(self.link, digest([self.storage_url, self.card.name]))

    def close(self) -> None:
        """End the way to another machine."""
        if self.link is not None:
            self.link.close()

    @property
    def host(self) -> Host:
        """The host that measures."""
        return self.target.host


def prepare(request: SearchRequest, target: Target | None = None) -> Prepared:
    """Check the request and load what it names, to make artifacts on this host and measure them on `target`.

    Without a `target` the machine that the request names measures, else this host too. Raises UsageError (or a
    subclass) with everything that is wrong with the values, then with the workload, the weights and the space.
    """
    problems = [*argument_problems(request), *limit_problems(resource.getrlimit(resource.RLIMIT_AS)[0])]
    if problems:
        raise UsageError(*problems)
    address = request.only_target
    home = writable_folder(request.home)
    free = shutil.disk_usage(home).free
    if free < LEAST_FREE_BYTES:
        raise StorageError(
            f"at least {LEAST_FREE_BYTES / 1e6:.0f} MB must be free on the disk of {home}, {free / 1e6:.0f} MB are: "
            "free some space, or choose another folder with --home"
        )
    builder = LocalTarget().host
    with ExitStack() as held:
        link = None
        if address is not None and target is None:
            link = held.enter_context(PipeLink(Address.of(address), builder.versions))
            target = LocalTarget(link.hello().host)  # whoever asks what measures is told; a station measures
        prepared = _prepared(request, builder, target or LocalTarget(), link)
        held.pop_all()
    return prepared


def _prepared(request: SearchRequest, builder: Host, target: Target, link: Link | None) -> Prepared:
    no_energy = target.why_no_energy() if link is None else link.hello().why_no_energy
    if "energy" in request.objectives and no_energy:
        raise UsageError(f"--objectives energy needs a host that tells its energy: {no_energy}")
    home, host = request.home, target.host
    name = request.space or (request.workload if request.workload in shipped_spaces() else "default")
    try:
        workload = load_workload(request.workload, request.data, home, request.options)
    except UsageError as error:
        raise type(error)(*error.problems, *_space_problems(name, host)) from error
    if request.weights_key is not None and workload.origin is not None:
        workload = replace(workload, origin=replace(workload.origin, weights_key=request.weights_key))
    primary_sign(workload)  # names that are no metrics are told now, not by every trial
    try_own_metrics(workload)
    _check_subgroups(request.guards, workload)
    workload = _scoring_labels(request.guards, workload)
    space = load_space(name if request.space else workload.space or name, host, workload)
    if link is not None:
        space = measured_elsewhere(space, builder, link.name)
    weights = _weights(request, workload)
    card = _card(request, workload, weights, space, host)
    store = Store(home / "store")
    earlier = earlier_studies(request.warm_start, request.storage_url, card)
    return Prepared(request, workload, weights, builder, target, space, card, store, request.storage_url, earlier, link)


def argument_problems(request: SearchRequest) -> list[str]:
    """What is wrong with the values of a request by themselves, a sentence each; nothing that they name is loaded."""
    problems = []
    if request.budget < 1:
        problems.append(f"--budget must be a whole number of at least 1, got {request.budget}")
    if request.time_s is not None and request.time_s <= 0:
        problems.append(f"--time must be longer than nothing, got {request.time_s:g} s")
    problems += LimitArguments.of(request).problems()
    for name, value in request.guards.items():
        if not is_guard(name):
            problems.append(f"--guard must be one of {', '.join(GUARDS)}, got {name!r}")
        elif not 0 <= value <= 1:
            problems.append(f"--guard {name} must be a fraction from 0 to 1, got {value:g}")
    problems += _target_problems(request.targets)
    if request.seed < 0:
        problems.append(f"--seed must be at least 0, got {request.seed}")
    if request.sampler not in SAMPLERS:
        problems.append(f"--sampler must be one of {', '.join(SAMPLERS)}, got {request.sampler!r}")
    unknown = [name for name in request.objectives if name not in objectives()]
    if unknown or len(set(request.objectives)) != len(request.objectives) or not 2 <= len(request.objectives) <= MOST:
        problems.append(
            f"--objectives must be two to four different ones of {', '.join(objectives())}, "
            f"got {', '.join(request.objectives)}"
        )
    return [*problems, *_timeout_problems(request.stage_timeouts), *_path_problems(request)]


def _target_problems(addresses: Sequence[str]) -> Iterator[str]:
    """What is wrong with the addresses of the machines that measure, a sentence each."""
    if len(addresses) > MOST_TARGETS or len(set(addresses)) < len(addresses):
        yield f"--target must be given once, or twice with different addresses, got {', '.join(addresses)[:200]}"
    for address in dict.fromkeys(addresses):
        try:
            Address.of(address)
        except UsageError as error:
            yield from (f"--target {problem.removeprefix('a target ')}" for problem in error.problems)


def _timeout_problems(given: Mapping[str, float]) -> Iterator[str]:
    """What is wrong with limits of time by stage, a sentence each."""
    known = (*stages(), STAGE)
    for name, seconds in given.items():
        if name not in known:
            yield f"--stage-timeout must be of one of {', '.join(known)}, got {name!r}"
        elif not 0 < seconds < math.inf:
            yield f"--stage-timeout {name} must be longer than nothing, got {seconds:g} s"


def limit_problems(address_space_bytes: int) -> Iterator[str]:
    """What is wrong with how much address space a process may have here: what fails for it would look like a model's
    own failure."""
    if resource.RLIM_INFINITY != address_space_bytes < LEAST_ADDRESS_SPACE_BYTES:
        yield (
            f"a process must be allowed at least {LEAST_ADDRESS_SPACE_BYTES / 1e6:.0f} MB of address space, "
            f"{address_space_bytes / 1e6:.0f} MB are: lift the limit with ulimit -v unlimited"
        )


def _path_problems(request: SearchRequest) -> Iterator[str]:
    data, weights = request.data, request.weights
    length = len(os.fsencode(request.home.absolute() / "mlflow.db"))
    if length > LONGEST_FILE_BYTES and not (request.storage and request.tracking_uri):
        yield (
            f"--home must lead to files whose whole paths have at most {LONGEST_FILE_BYTES} bytes, since SQLite opens "
            f"no others; that of its mlflow.db has {length}: choose a shorter one"
        )
    if data is not None and not data.is_dir():
        yield f"--data must be a folder, {data} is {'a file' if data.exists() else 'not there'}"
    if weights is not None and not weights.is_file():
        yield f"--weights must be a file, {weights} is {'a folder' if weights.exists() else 'not there'}"


def _check_subgroups(guards: Mapping[str, float], workload: Workload) -> None:
    """Raise DataError unless every column that a guard names is a column of the val cases."""
    columns = sorted({column for case in workload.splits["val"] for column in case.tags})
    wanted = [name.removeprefix(SUBGROUP) for name in guards if name.startswith(SUBGROUP)]
    if any(column not in columns for column in wanted):
        raise DataError(
            f"--guard {SUBGROUP}COLUMN must name a column of the cases of {workload.name} "
            f"({', '.join(columns) or 'they have none'}), got {', '.join(wanted)}"
        )


def _scoring_labels(guards: Mapping[str, float], workload: Workload) -> Workload:
    """The workload with the Dice of every label that a guard names among its metrics. Raises DataError for a label
    that it does not have."""
    wanted = [name.removeprefix(LABEL) for name in guards if name.startswith(LABEL)]
    known = workload.labels if workload.task == "segmentation" else ()
    if any(label not in known for label in wanted):
        raise DataError(
            f"--guard {LABEL}NAME must name a label of the segmentation {workload.name} "
            f"({', '.join(known) or 'it is none, and has no Dice'}), got {', '.join(wanted)}"
        )
    metrics = [*workload.metrics, *(f"{LABEL_METRIC}{label}" for label in wanted)]
    return replace(workload, metrics=tuple(dict.fromkeys(metrics)))


def _space_problems(name: str, host: Host) -> Sequence[str]:
    try:
        load_space(name, host)
    except SpaceError as error:
        return error.problems
    return ()


def _weights(request: SearchRequest, workload: Workload) -> Path:
    weights = request.weights or find_weights(workload, request.home)
    if weights is None:
        data = "--demo" if request.data is None else f"--data {shlex.quote(str(request.data))}"
        arguments = command_arguments(request.workload, data, request.options, home=request.home)
        raise WeightsError(
            f"no trained weights of {workload.name} for this data are in {request.home / 'weights'}: "
            f"train a baseline with `autoopt train {arguments}`, "
            "or name a file with --weights"
        )
    if not weights.is_file():
        raise WeightsError(f"the weights {weights} of {workload.name} are not there: name a file with --weights")
    return weights


def command_arguments(source: str, data: str, options: Mapping[str, Scalar], *, home: Path = HOME) -> str:
    """The command-line arguments that name a workload: its source, `data` (an option and its value) and its options.

    A home folder that is not the usual one is named too.
    """
    kind, name = ("--model", source.removeprefix(MODEL)) if source.startswith(MODEL) else ("--workload", source)
    given = [f"--option {shlex.quote(f'{option}={value}')}" for option, value in options.items()]
    where = [] if home == HOME else [f"--home {shlex.quote(str(home))}"]
    return " ".join([kind, shlex.quote(name), *([data] if data else []), *given, *where])


def _card(request: SearchRequest, workload: Workload, weights: Path, space: Space, host: Host) -> StudyCard:
    less_is_better = primary_sign(workload) < 0
    card = StudyCard(
        name="",
        workload=workload.name,
        demo=workload.demo,
        primary=workload.metrics[0],
        data_digest=workload.data_digest,
        weights_digest=digest_of_all(workload, weights, request.weights_key),
        space=space.text,
        objectives=request.objectives,
        seed=request.seed,
        host=host,
        limits={**LimitArguments.of(request).limits(less_is_better=less_is_better), **request.guards},
        labels=workload.labels,
        pipeline=workload.pipeline.to_json(),
        latency=workload.latency,
        calibration=calibration(request.home, host),
        less_is_better=less_is_better,
        own_metrics={item.name: item.identity() for item in workload.own_metrics if item.name in workload.metrics},
        origin={
            "source": workload.origin.source if workload.origin else request.workload,
            "data": None if request.data is None else str(request.data.resolve()),
            "weights": str(weights.resolve()),
            "weights_key": request.weights_key,
            **({} if request.only_target is None else {"target": request.only_target}),
            "home": str(request.home.resolve()),
            "left_out": remark_on(weights),
            "options": dict(workload.origin.options if workload.origin else request.options),
            "reading": None if workload.reading is None else workload.reading.to_json(),
        },
    )
    default = f"{card.workload}{'-demo' if card.demo else ''}-{digest(card.identity())[:8]}"
    return replace(card, name=request.study or default)


def check_data_argument(data: Path | None, *, needed_for: str) -> Path:
    """`data`; raises DataError when it is None, saying what needs it."""
    if data is None:
        raise DataError(f"{needed_for} needs a data folder: give --data DIR, or --demo for the embedded demo data")
    return data
