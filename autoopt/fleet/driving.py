"""The machines of a search, as its request names them."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TypedDict
from urllib.parse import quote

from autoopt.core.store import Store
from autoopt.errors import BusyError, UsageError
from autoopt.fleet.address import Certificates, place_of
from autoopt.fleet.builder_child import BuilderChild
from autoopt.fleet.fleet import Fleet
from autoopt.measure.remote.address import Address
from autoopt.measure.target import LocalTarget
from autoopt.measure.timing import MeasuringPlan
from autoopt.study.request import SearchRequest
from autoopt.study.runner import LocalRunner, Runner
from autoopt.workloads.loading import imports_of

_log = logging.getLogger("autoopt")


class Machines(TypedDict, total=False):
    """Arguments of `study.loop.search`."""

    runner: Runner


@contextmanager
def assembled(request: SearchRequest, plan: MeasuringPlan | None = None) -> Iterator[tuple[SearchRequest, Machines]]:
    """The request of a search with the machines of its fleet, for the length of the block: what is there, works.

    Its builders make, unless there are none; a target of it measures, unless there is none or the request names one.
    Raises UsageError where the fleet does not let us in, or has nobody who could work.
    """
    if (request.fleet is None) != (request.certs is None):
        raise UsageError("--fleet, the hub, must come with --certs, the folder of a client's certificate: give both")
    if request.fleet is None or request.certs is None:
        yield request, {}
        return
    place, certificates = place_of(request.fleet, "--fleet"), Certificates.read(request.certs)
    with ExitStack() as held:
        fleet = held.enter_context(Fleet(place, certificates, f"process {os.getpid()} on {platform.node()}"))
        builders, target = fleet.members("builder"), request.only_target or _free(fleet, certificates)
        if not builders and target is None:
            raise UsageError(
                f"the fleet at {place} must have a builder or target, it has none: "
                f"start autoopt builder serve or autoopt target serve on a machine of it"
            )
        machines = Machines()
        if builders:
            imports = imports_of(request.workload)
            maker = BuilderChild(fleet, Store(request.home / "store"), imports)
            machines["runner"] = LocalRunner(LocalTarget().host, plan=plan, imports=imports, maker=maker)
        made = ", ".join(item.name for item in builders) or "this machine"
        _log.warning("autoopt: artifacts are made on %s, measured on %s", made, _shown(target))
        yield replace(request, target=target), machines


def _free(fleet: Fleet, certificates: Certificates) -> str | None:
    """The address of the first target that no search uses; None where there is no target at all.

    Raises BusyError where all are used.
    """
    targets = fleet.members("target")
    free = [item.name for item in targets if item.study is None]
    if targets and not free:
        users = ", ".join(f"{item.name} by {item.study}" for item in targets)
        raise BusyError(f"a target of the fleet must be free, all are used ({users}): wait, or start another one")
    return f"{fleet.hub}/{free[0]}?certs={quote(str(certificates.folder.resolve()))}" if free else None


def _shown(target: str | None) -> str:
    return "this machine" if target is None else Address.of(target).text
