"""A builder or a target of a fleet: a Dask worker with one thread, no nanny and no pages, around an agent."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import Any

from autoopt.core.scratch import scratch_folder
from autoopt.errors import UsageError
from autoopt.fleet import settings
from autoopt.fleet.address import Certificates, Place
from autoopt.fleet.agent import Agent, install
from autoopt.fleet.certificates import ROLES
from autoopt.fleet.gate import guard
from autoopt.fleet.hello import greet
from autoopt.fleet.hub import KEY, NO_PAGES, until_stopped

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
BEAT_S = 5.0
"""How often a member tells the hub that it lives, and what it does."""


def check_name(name: str) -> str:
    """A name that a member may have. Raises UsageError."""
    if not _NAME.fullmatch(name) or name in ROLES:
        raise UsageError(
            f"--name must be of letters, digits, dots and hyphens and not {', '.join(ROLES)}, got {name!r}: "
            f"give the machine a short name, such as ward-3"
        )
    return name


def serve(
    hub: Place,
    certificates: Certificates,
    agent: Agent,
    *,
    listen: Place | None = None,
    ready: Callable[[str], None],
) -> None:
    """Work for the hub until SIGINT or SIGTERM; `ready` is told the address where the others reach this machine.

    By default that is the address of this machine that leads to the hub. Raises UsageError where the hub does not let
    us in, and, after the run that was begun is over, when it went away or gave us up.
    """
    check_name(agent.name)
    own = greet(hub, certificates, agent.role)
    install(agent)
    try:
        asyncio.run(_serve(hub, certificates, agent, listen or Place(own, 0), ready))
    finally:
        agent.end()


async def _serve(
    hub: Place, certificates: Certificates, agent: Agent, listen: Place, ready: Callable[[str], None]
) -> None:
    with scratch_folder() as folder:
        try:
            worker = _worker(hub, certificates, agent, listen, str(folder))
            await worker
            worker.http_server.stop()
        except (OSError, TimeoutError, RuntimeError, ValueError) as error:
            raise UsageError(_why_not(hub, agent, listen, error)) from error
        ready(worker.address)
        stopped = asyncio.ensure_future(until_stopped().wait())
        ended = asyncio.ensure_future(worker.finished())
        await asyncio.wait({stopped, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            raise UsageError(
                f"the hub at {hub} went away or took {agent.name} for gone: start this again once it is back "
                f"(a supervisor does, such as systemd with Restart=always)"
            )
        agent.stop()  # Ctrl-C: nobody waits for what is being done
        with contextlib.suppress(OSError, TimeoutError):
            await worker.close(reason="stopped")


def _worker(hub: Place, certificates: Certificates, agent: Agent, listen: Place, folder: str) -> Any:
    from distributed import Worker

    worker = Worker(
        str(hub),
        name=agent.name,
        nthreads=1,
        resources={agent.role: 1, agent.name: 1},
        host=listen.host,
        port=listen.port,
        protocol="tls",
        security=certificates.security(),
        memory_limit=0,
        local_directory=folder,
        dashboard=False,
        dashboard_address=NO_PAGES,
        heartbeat_interval=f"{BEAT_S:g}s",
        metrics={KEY: lambda _: agent.state()},
        startup_information={KEY: lambda _: agent.about()},
        death_timeout=30,
    )

    async def autoopt_bye() -> str:
        agent.search_left()
        return "OK"

    worker.handlers["autoopt_bye"] = autoopt_bye
    guard(worker.handlers)
    return worker


def _why_not(hub: Place, agent: Agent, listen: Place, error: BaseException) -> str:
    told: BaseException | None = error
    words = []
    while told is not None:
        words.append(str(told))
        told = told.__cause__ or told.__context__
    if any("name taken" in item for item in words):
        return (
            f"--name must be free in this fleet, {agent.name} is there already: give another one, "
            f"or wait until the hub takes the old one for gone ({settings.LOST_AFTER_S:g} s)"
        )
    if isinstance(error, TimeoutError):
        return f"the hub at {hub} must take {agent.name} in, it did not answer: is it very busy?"
    return f"{agent.name} must listen at {listen} for the others of the fleet, it cannot: {words[-1]}"
