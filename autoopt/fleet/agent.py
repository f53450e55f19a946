"""What a builder or target does for a fleet: one function, `carry`, takes JSON and bytes and gives JSON and bytes.

Dask calls `carry` by its name; nothing of ours is pickled. The work is done by a child process of the agent, which
stays open for a session: it dies when its session ends, when the agent dies, and when it is told to stop.

    request   {"session": ID, "do": NAME, ...}        with bytes beside it
    reply     {"answer": {...}} or {"error": ...}     a line of JSON, then bytes
"""

from __future__ import annotations

import json
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from autoopt import errors
from autoopt.errors import Crash, TrialError, UsageError
from autoopt.fleet import settings
from autoopt.measure.target import LocalTarget

HELLO = "hello"
"""What every agent does itself: it says what it is."""
BYE = "bye"
"""Ends a session; also what a hub tells an agent whose search is gone."""
DONE_S = 3600.0
"""How long the end of a run is waited for before an agent ends."""


class Work(Protocol):
    """What does the work of one session; only one request at a time reaches it."""

    def answer(self, request: Mapping[str, Any], data: bytes) -> tuple[Mapping[str, Any], bytes]:
        """Do a request. Raises UsageError or TrialError."""
        ...

    def stop(self) -> None:
        """End what is being done now, from another thread: `answer` raises."""
        ...

    def close(self) -> None:
        """End the session."""
        ...


class Agent:
    """One builder or target: `begin` opens the work of a session, `folder` is where its files lie."""

    def __init__(self, name: str, role: str, folder: Path, begin: Callable[[], Work]) -> None:
        self.name = name
        self.role = role
        self._folder = folder
        self._begin = begin
        self._work: Work | None = None
        self._session: str | None = None
        self._doing: dict[str, Any] | None = None
        self._turn = threading.Lock()

    def about(self) -> dict[str, Any]:
        """What does not change: for the hub's list, and the answer to `HELLO`."""
        host = LocalTarget().host
        return {
            "role": self.role,
            "versions": settings.versions(),
            "host": {
                "cpu": host.cpu,
                "cores": host.cores,
                "fingerprint": host.fingerprint,
                "versions": dict(host.versions),
            },
        }

    def state(self) -> dict[str, Any]:
        """What it does now and how much room is left, in bytes."""
        doing, busy = self._doing, None
        if doing is not None:
            busy = {"what": doing["what"], "seconds": round(time.monotonic() - doing["since"], 1)}
        return {"busy": busy, "free_bytes": shutil.disk_usage(self._folder).free}

    def answer(self, line: bytes, data: bytes) -> bytes:
        """Do a request; whatever goes wrong is in the reply."""
        with self._turn:
            try:
                request = json.loads(line)
                self._doing = {"what": str(request.get("run") or request["do"]), "since": time.monotonic()}
                answer, body = self._answer(request, data)
                reply: dict[str, Any] = {"answer": dict(answer)}
            except (TrialError, UsageError) as error:
                reply, body = {"error": errors.to_json(error)}, b""
            except Exception as error:  # the border: the driver makes a failed trial of it
                tail = traceback.format_exc()[-4000:]
                reply, body = {"error": errors.to_json(Crash(f"{type(error).__name__}: {error}", log_tail=tail))}, b""
            finally:
                self._doing = None
        return json.dumps(reply).encode() + b"\n" + body

    def _answer(self, request: dict[str, Any], data: bytes) -> tuple[Mapping[str, Any], bytes]:
        if request["do"] == HELLO:
            return {**self.about(), **self.state()}, b""
        session = str(request.pop("session"))
        if request["do"] == BYE:
            if session == self._session:
                self._end_session()
            return {}, b""
        if session != self._session:
            self._end_session()
            self._work, self._session = self._begin(), session
        assert self._work is not None
        return self._work.answer(request, data)

    def stop(self) -> None:
        """End what is being done now; its request is answered with an error."""
        work = self._work
        if work is not None and self._doing is not None:
            work.stop()

    def search_left(self) -> None:
        """The search that we worked for is gone: end its session once the run is over, whose result is kept."""
        session = self._session

        def end() -> None:
            with self._turn:
                if self._session == session:
                    self._end_session()

        threading.Thread(target=end, daemon=True).start()

    def end(self, wait_s: float = DONE_S) -> None:
        """Wait for the run that was begun, whose result is kept by its name, then end the session."""
        if self._turn.acquire(timeout=wait_s):
            try:
                self._end_session()
            finally:
                self._turn.release()
        else:
            self.stop()

    def _end_session(self) -> None:
        work, self._work, self._session = self._work, None, None
        if work is not None:
            work.close()


_agent: list[Agent] = []


def install(agent: Agent) -> None:
    """Let `carry` reach this agent: one per process."""
    _agent[:] = [agent]


def carry(line: bytes, data: bytes = b"") -> bytes:
    """Do a request on the machine where Dask calls this; see the top of this file."""
    return _agent[0].answer(line, data)


def stop() -> None:
    """End what the agent of this process does now."""
    for agent in _agent:
        agent.stop()
