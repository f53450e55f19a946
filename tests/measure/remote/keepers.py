"""Keepers as children of this process, and what a driver measures in them."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from autoopt.measure.remote.address import Address
from autoopt.measure.remote.link import PipeLink
from autoopt.measure.remote.station import RemoteReference, RemoteStation, RemoteTaking
from autoopt.measure.subject import Subject
from autoopt.measure.turns import never
from tests.measure.setups import QUICK


def address(home: Path, before: str = "true") -> Address:
    """A keeper with this home folder, whose shell runs `before` first and writes its process id to the file `pid`."""
    home.mkdir(exist_ok=True)
    keeper = f"{shlex.quote(sys.executable)} -m autoopt.measure.remote.keeper"
    script = f"{before}; echo $$ > {home}/pid; AUTOOPT_TARGET_HOME={home} exec {keeper}"
    return Address(f"test://{home.name}", ("sh", "-c", script))


def link(
    home: Path, before: str = "true", *, gone_s: float = 20.0, on_wait: Callable[[str], None] = lambda words: None
) -> PipeLink:
    """A link to such a keeper, which asks again soon."""
    return PipeLink(address(home, before), {}, gone_s=gone_s, between_s=(0.1,), on_wait=on_wait)


def keeper_pid(home: Path) -> int:
    """The process of the keeper that was started last."""
    return int((home / "pid").read_text())


def is_running(pid: int) -> bool:
    """Whether the process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def taking(station: RemoteStation, subject: Subject, reference: RemoteReference | None = None) -> RemoteTaking:
    """What measures a trial quickly."""
    return station.taking(
        subject, None, plan=QUICK, reference=reference, clear=never, timeout_s=30.0, memory_bytes=None
    )
