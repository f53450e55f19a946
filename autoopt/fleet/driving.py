"""The machines of a search, as its request names them."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TypedDict

from autoopt.core.store import Store
from autoopt.errors import UsageError
from autoopt.fleet.address import Certificates, place_of
from autoopt.fleet.builder_child import BuilderChild
from autoopt.fleet.fleet import Fleet
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
def assembled(request: SearchRequest, plan: MeasuringPlan | None = None) -> Iterator[Machines]:
    """What the search of a request runs on, for the length of the block: nothing where that is this machine.

    Raises UsageError where the fleet does not let us in, or has nobody who could work.
    """
    if request.fleet is None:
        if request.certs is not None:
            raise UsageError("--certs must come with --fleet, the hub of the fleet: give both")
        yield {}
        return
    if request.certs is None:
        raise UsageError("--fleet must come with --certs, the folder of a client's certificate: give both")
    place, certificates = place_of(request.fleet, "--fleet"), Certificates.read(request.certs)
    study = f"{request.study or request.workload} of {platform.node()}"
    with ExitStack() as held:
        fleet = held.enter_context(Fleet(place, certificates, study))
        builders = fleet.members("builder")
        if not builders:
            raise UsageError(
                f"the fleet at {place} must have a builder, it has none: start autoopt builder serve on a machine of it"
            )
        imports = imports_of(request.workload)
        maker = BuilderChild(fleet, Store(request.home / "store"), imports)
        _log.warning("autoopt: artifacts are made on %s", ", ".join(item.name for item in builders))
        yield {"runner": LocalRunner(LocalTarget().host, plan=plan, imports=imports, maker=maker)}
