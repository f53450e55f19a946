"""Which role may ask what of a hub or a member: a seat belt, no lock.

Dask unpickles a message before anything here can look at it, so who holds any certificate of a fleet can run code on
every machine of it that he reaches. What this refuses is a mistake: the certificate of a target where that of a search
belongs.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

OF_MEMBERS = frozenset(
    {
        "autoopt_hello",
        "get_data",
        "heartbeat_worker",
        "identity",
        "register-worker",
        "unregister",
        "versions",
        "who_has",
    }
)
"""What a builder or target may ask of a hub and of another member; a hub and a search may ask all."""


def role_of(comm: Any) -> str:
    """The role that the certificate of a connection names; empty where it names none."""
    subject = (comm.extra_info.get("peercert") or {}).get("subject", ())
    names = [value for part in subject for key, value in part if key == "commonName"]
    return str(names[0]) if names else ""


def guard(handlers: MutableMapping[str, Callable[..., Any]]) -> None:
    """Let each handler but `OF_MEMBERS` refuse connections that are neither a search's nor a hub's."""
    for name, handler in list(handlers.items()):
        if name not in OF_MEMBERS:
            handlers[name] = _guarded(name, handler)


def _guarded(name: str, handler: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    takes_comm = next(iter(inspect.signature(handler).parameters), "") == "comm"

    async def guarded(comm: Any, **message: Any) -> Any:
        role = role_of(comm)
        if role not in ("client", "scheduler"):
            raise PermissionError(f"{name} must be asked for with a client's certificate, this one is {role!r}")
        result = handler(comm, **message) if takes_comm else handler(**message)
        return await result if inspect.isawaitable(result) else result

    return guarded
