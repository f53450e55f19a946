"""The first words between a machine and a hub: role and versions must fit before Dask is let at anything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from autoopt.errors import UsageError
from autoopt.fleet import settings
from autoopt.fleet.address import PATIENCE_S, Certificates, Place, knock


def greet(hub: Place, certificates: Certificates, wants: str, ours: Mapping[str, str] | None = None) -> str:
    """The address of this machine that leads to the hub, which takes us for a `wants` of its fleet.

    `ours` are the versions to tell, by default those of this installation. Raises UsageError saying why it does not.
    """
    own = knock(hub, certificates)
    versions = dict(ours or settings.versions())
    answer = ask(hub, certificates, "autoopt_hello", versions=versions, wants=wants)
    if answer["problem"]:
        raise UsageError(str(answer["problem"]))
    return own


def ask(hub: Place, certificates: Certificates, do: str, **request: Any) -> dict[str, Any]:
    """One answer of the hub, on a connection of its own. Raises UsageError where there is none."""
    settings.apply()
    try:
        answer = asyncio.run(_ask(hub, certificates, do, request))
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(f"the hub at {hub} must answer to {do}, it does not: {error}") from error
    if not isinstance(answer, dict) or answer.get("status") == "uncaught-error":
        raise UsageError(f"the hub at {hub} must be one of autoopt fleet serve, it does not know {do} or allow it")
    return answer


async def _ask(hub: Place, certificates: Certificates, do: str, request: Mapping[str, Any]) -> Any:
    from distributed.comm import connect

    arguments = certificates.security().get_connection_args("client")
    comm = await connect(str(hub), timeout=PATIENCE_S, deserialize=False, **arguments)  # so nothing is unpickled
    try:
        await comm.write({"op": do, "reply": True, **request}, serializers=["msgpack"])
        return await asyncio.wait_for(comm.read(), PATIENCE_S)
    finally:
        comm.abort()
