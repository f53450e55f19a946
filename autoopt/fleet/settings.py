"""How Dask is to behave where something is measured: quiet, strict, and nothing done twice behind our back."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping

PROTOCOL = 1
"""Of what the parts of a fleet say to each other; other numbers are refused."""
LOST_AFTER_S = 60.0
"""A member that was not heard of for so long is gone: a suspended machine, a cable that was pulled."""
SETTINGS: Mapping[str, object] = {
    "distributed.comm.require-encryption": True,
    "distributed.comm.timeouts.connect": "10s",
    "distributed.scheduler.allowed-failures": 0,  # else a run of a dead target is begun again elsewhere, untold
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.no-workers-timeout": "10m",
    "distributed.scheduler.http.routes": [],  # pages and an API without a password
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,  # it samples 100 times a second
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.memory.monitor-interval": "30s",
    "distributed.admin.system-monitor.interval": "30s",  # it polls every 500 ms
    "distributed.admin.tick.interval": "5s",
    "distributed.admin.tick.cycle": "60s",
    "distributed.admin.tick.limit": "10m",  # else it warns of its own long tick
    "distributed.client.heartbeat": "5s",
}
"""Settings of Dask, whatever its files and environment say. What is measured beside its defaults is disturbed."""


def apply(lost_after_s: float = LOST_AFTER_S) -> None:
    """Let Dask use `SETTINGS` in this process and log nothing but errors; `lost_after_s` is for a hub."""
    import logging

    import dask

    dask.config.set({**SETTINGS, "distributed.scheduler.worker-ttl": f"{lost_after_s:g}s"})
    import distributed  # noqa: F401 - it configures its loggers when it is imported

    for name in ("", ".client", ".core", ".protocol.core", ".scheduler", ".worker"):
        logging.getLogger(f"distributed{name}").setLevel(logging.CRITICAL)


def versions() -> dict[str, str]:
    """What must be equal in all parts of a fleet, by name."""
    python = ".".join(platform.python_version_tuple()[:2])
    own = {name: importlib.metadata.version(name) for name in ("autoopt", "distributed")}
    return {"protocol": str(PROTOCOL), **own, "Python": python}


def difference(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """What differs, as in `autoopt 0.2 and 0.1`, ours first; empty where nothing does."""
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    return ", ".join(f"{name} {ours.get(name, 'unknown')} and {theirs.get(name, 'unknown')}" for name in names)
