"""The hub of a fleet: a Dask scheduler that knows roles, versions, and which study uses which target.

It plans nothing and holds nothing worth keeping. Beside Dask's own it answers

    autoopt_hello    {versions, wants}          -> {versions, problem}
    autoopt_status   {}                         -> {members: [...]}, see `Hub.status`
    autoopt_claim    {client, name, study}      -> {by}, empty where the study has the target now
    autoopt_release  {client, name}             -> {}
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autoopt.errors import UsageError
from autoopt.fleet import settings
from autoopt.fleet.address import Certificates, Place
from autoopt.fleet.gate import guard, role_of

KEY = "autoopt"
"""Where members put what is ours into Dask's own messages."""
NO_PAGES = "127.0.0.1:0"
"""Dask opens a port for its web pages even where they are off."""


@dataclass(frozen=True)
class Claim:
    """A study has a target: nobody else may send it work."""

    client: str
    study: str
    since: float


class Hub:
    """What a scheduler answers for us; `say` is told who came and went. Also a plugin of the scheduler."""

    name = KEY
    idempotent = False

    def __init__(self, scheduler: Any, say: Callable[[str], None]) -> None:
        self._scheduler = scheduler
        self._say = say
        self._claims: dict[str, Claim] = {}
        self._names: dict[str, str] = {}
        self._telling: asyncio.Future[Any] | None = None
        for handler in (self.autoopt_hello, self.autoopt_status, self.autoopt_claim, self.autoopt_release):
            scheduler.handlers[handler.__name__] = handler
        guard(scheduler.handlers)
        scheduler.add_plugin(_plugin(self), name=KEY)

    async def autoopt_hello(self, comm: Any, *, versions: Mapping[str, str], wants: str) -> dict[str, Any]:
        """Who calls may stay: `problem` says why not, else it is empty."""
        ours, role = settings.versions(), role_of(comm)
        problem = ""
        if role != wants:
            problem = f"--certs must be the folder of a {wants}, it is that of a {role or 'nobody'}: name another one"
        elif different := settings.difference(versions, ours):
            problem = (
                f"a fleet must have the same versions everywhere, here and at the hub are {different}: install one"
            )
        return {"versions": ours, "problem": problem}

    async def autoopt_status(self, comm: Any) -> dict[str, Any]:
        """Who is there, by name."""
        members = []
        for worker in self._scheduler.workers.values():
            claim = self._claims.get(worker.name)
            members.append(
                {
                    "name": worker.name,
                    "address": worker.address,
                    "seen_s": round(max(0.0, time.time() - worker.last_seen), 1),
                    "study": None if claim is None else claim.study,
                    **worker.extra.get(KEY, {}),
                    **worker.metrics.get(KEY, {}),
                }
            )
        return {"members": sorted(members, key=lambda item: str(item["name"]))}

    async def autoopt_claim(self, comm: Any, *, client: str, name: str, study: str) -> dict[str, Any]:
        """Give the target `name` to a study until its client goes, unless another has it: then `by` names that one."""
        held = self._claims.get(name)
        if held is not None and held.client != client:
            return {"by": held.study}
        self._claims[name] = Claim(client, study, time.time())
        return {"by": ""}

    async def autoopt_release(self, comm: Any, *, client: str, name: str) -> dict[str, Any]:
        """Take a target back; nothing where the client does not have it."""
        if name in self._claims and self._claims[name].client == client:
            del self._claims[name]
        return {}

    def came(self, address: str) -> None:
        """A member registered."""
        worker = self._scheduler.workers[address]
        self._names[address] = worker.name
        self._say(f"{worker.name} joined from {address}")

    def left(self, address: str) -> None:
        """A member ended or was not heard of for too long."""
        self._say(f"{self._names.pop(address, address)} left")

    def client_left(self, client: str) -> None:
        """A search ended, in whatever way: its members are free, and end what they keep open for it."""
        names = {name for name, claim in self._claims.items() if claim.client == client}
        addresses = [worker.address for worker in self._scheduler.workers.values() if worker.name in names]
        if addresses:
            message = {"op": "autoopt_bye"}
            told = self._scheduler.broadcast(msg=message, workers=addresses, on_error="ignore")
            self._telling = asyncio.ensure_future(told)  # kept until it is done
        self._claims = {name: claim for name, claim in self._claims.items() if claim.client != client}


def _plugin(hub: Hub) -> Any:
    from distributed import SchedulerPlugin

    class Plugin(SchedulerPlugin):  # type: ignore[misc, unused-ignore]
        def add_worker(self, scheduler: Any, worker: str) -> None:
            hub.came(worker)

        def remove_worker(self, scheduler: Any, worker: str, *, stimulus_id: str, **more: Any) -> None:
            hub.left(worker)

        def remove_client(self, scheduler: Any, client: str) -> None:
            hub.client_left(client)

    return Plugin()


def serve(
    place: Place,
    certificates: Certificates,
    *,
    lost_after_s: float = settings.LOST_AFTER_S,
    ready: Callable[[str], None],
    say: Callable[[str], None],
) -> None:
    """Be the hub of a fleet at `place` until SIGINT or SIGTERM; `ready` is told the address, `say` who comes and goes.

    Raises UsageError where the address cannot be listened at.
    """
    settings.apply(lost_after_s)
    asyncio.run(_serve(place, certificates, ready, say))


async def _serve(
    place: Place, certificates: Certificates, ready: Callable[[str], None], say: Callable[[str], None]
) -> None:
    from distributed import Scheduler

    try:
        scheduler = Scheduler(
            host=place.host,
            port=place.port,
            protocol="tls",
            security=certificates.security(),
            dashboard=False,
            dashboard_address=NO_PAGES,
        )
        scheduler.http_server.stop()  # it would serve no pages, but it would listen
        hub = Hub(scheduler, say)
        await scheduler
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error.__cause__ or error)
        raise UsageError(f"--listen must be an address of this machine that is free, {place}: {reason}") from error
    assert hub is not None
    ready(scheduler.address)
    stopped = until_stopped()
    closed = asyncio.ensure_future(scheduler.finished())
    await asyncio.wait({closed, asyncio.ensure_future(stopped.wait())}, return_when=asyncio.FIRST_COMPLETED)
    with contextlib.suppress(OSError, TimeoutError):
        await scheduler.close()


def until_stopped() -> asyncio.Event:
    """An event of this loop that Ctrl-C, SIGTERM and a terminal that goes away set."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(ValueError, RuntimeError):  # only the main thread may
            loop.add_signal_handler(number, event.set)
    return event
