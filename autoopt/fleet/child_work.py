"""The work of a session in a child process that speaks the protocol of core/process.py."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from typing import Any

from autoopt.core.process import USUAL_TIMEOUT_S, Child


def end_now(child: Child) -> None:
    """Kill a child that another thread waits for: that gets the error."""
    pid = child.pid
    if pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


class ChildWork:
    """One child per session. A request has "stage", "timeout_s" and "memory_bytes" of `Child.call` beside its own."""

    def __init__(self, module: str, environment: Mapping[str, str] | None = None) -> None:
        self._child = Child(module, environment=environment)

    def answer(self, request: Mapping[str, Any], data: bytes) -> tuple[Mapping[str, Any], bytes]:
        """See `agent.Work`; the child gets and gives no bytes."""
        own = dict(request)
        do = str(own.pop("do"))
        stage = str(own.pop("stage", do))
        timeout_s, memory_bytes = float(own.pop("timeout_s", USUAL_TIMEOUT_S)), own.pop("memory_bytes", None)
        return self._child.call(do, own, stage=stage, timeout_s=timeout_s, memory_bytes=memory_bytes), b""

    def stop(self) -> None:
        """See `agent.Work`."""
        end_now(self._child)

    def close(self) -> None:
        """See `agent.Work`."""
        self._child.close()
