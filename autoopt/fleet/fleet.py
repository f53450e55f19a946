"""The driver's side of a fleet: who is there, whose turn it is, one request and one answer.

The driver decides which member does what, one request in flight for each: what was queued at a target that dies would
die with it. Files go straight from one machine to another, requests through the hub.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, Self

from autoopt import errors
from autoopt.errors import BusyError, Crash, Timeout, TrialError, UsageError
from autoopt.fleet import agent, settings
from autoopt.fleet.address import Certificates, Place
from autoopt.fleet.hello import ask, greet

LOOK_AGAIN_S = 5.0
"""How often a waiting driver asks the hub whether the member is still there."""
SLACK_S = 30.0
"""How much longer than its limit of time an answer may take: the network's share."""
BACK_S = 600.0
"""How long a member or hub that went away may stay away."""
INLINE_BYTES = 50_000
"""Of a request and its data; more goes straight to the member, not through the hub."""


class Lost(Crash):
    """A member or the hub went away in a request: the same run may be asked for again, by its name."""

    def __init__(self, message: str, *, stage: str = "") -> None:
        super().__init__(message, stage=stage, by_signal=True)


@dataclass(frozen=True)
class Member:
    """A builder or target as the hub knows it; `busy` is what it does now, `study` which search has it."""

    name: str
    role: str
    address: str
    versions: Mapping[str, str]
    host: Mapping[str, Any]
    busy: Mapping[str, Any] | None
    study: str | None
    free_bytes: int
    seen_s: float


def members(hub: Place, certificates: Certificates) -> list[Member]:
    """Who is in the fleet, by name. Raises UsageError saying why the hub does not tell."""
    greet(hub, certificates, "client")
    return _members(ask(hub, certificates, "autoopt_status"))


def _members(answer: Mapping[str, Any]) -> list[Member]:
    empty: dict[str, Any] = {"role": "", "versions": {}, "host": {}, "busy": None, "study": None, "free_bytes": 0}
    names = Member.__dataclass_fields__
    return [Member(**{name: {**empty, **item}[name] for name in names}) for item in answer["members"]]


class Fleet:
    """The connection of one study; a context manager. Several threads may use it, each with members of its own."""

    def __init__(self, hub: Place, certificates: Certificates, study: str) -> None:
        self.hub = hub
        self._certificates = certificates
        self._study = study
        self._client: Any = None
        self._been_there = False
        self._claimed: set[str] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._connected()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back all members; what they do for us goes on, and its result is kept there."""
        with self._lock:
            client, self._client = self._client, None
            self._claimed.clear()
        if client is not None:
            with contextlib.suppress(Exception):  # a hub that is gone cannot be told
                client.close(timeout=5)

    def members(self, role: str | None = None) -> list[Member]:
        """Who is there, of one role or all, by name."""
        found = _members(self._ask_hub("autoopt_status"))
        return [item for item in found if role in (None, item.role)]

    def claim(self, name: str) -> None:
        """Have a target for this study until it is released or this connection ends.

        Raises BusyError naming the study that has it.
        """
        client = self._connected()
        by = self._ask_hub("autoopt_claim", client=client.id, name=name, study=self._study)["by"]
        if by:
            raise BusyError(f"{name} must be free, the search {by!r} uses it: wait, or use other machines of the fleet")
        self._claimed.add(name)

    def release(self, name: str) -> None:
        """Give a target back."""
        self._claimed.discard(name)
        self._ask_hub("autoopt_release", client=self._connected().id, name=name)

    def wait_for(self, name: str, wait_s: float = BACK_S) -> Member:
        """The member once it is there, with whatever claim we had on it. Raises Lost after `wait_s` seconds."""
        until = time.monotonic() + wait_s
        while True:
            with contextlib.suppress(UsageError, Lost):
                found = {item.name: item for item in self.members()}.get(name)
                if found is not None:
                    return found
            if time.monotonic() > until:
                raise Lost(f"{name} went away and did not come back within {wait_s:g} s")
            time.sleep(min(1.0, wait_s))

    def call(
        self, name: str, request: Mapping[str, Any], data: bytes = b"", *, stage: str, timeout_s: float
    ) -> tuple[dict[str, Any], bytes]:
        """Let the member `name` do a request; its answer, and the bytes beside it.

        Raises the UsageError or TrialError of the member, `Lost` where it or the hub went away, and Timeout after
        `timeout_s` (and some seconds for the network): then what it does is stopped.
        """
        try:
            reply = self._carried(name, request, data, stage, timeout_s)
        except (OSError, CancelledError) as error:
            self._forget_connection()
            raise Lost(f"the hub at {self.hub} went away while {name} was at {stage}", stage=stage) from error
        line, _, body = reply.partition(b"\n")
        found = json.loads(line)
        if "error" in found:
            problem = errors.from_json(found["error"])
            if isinstance(problem, TrialError):
                problem.stage = problem.stage or stage
            raise problem
        return dict(found["answer"]), body

    def _carried(self, name: str, request: Mapping[str, Any], data: bytes, stage: str, timeout_s: float) -> bytes:
        from distributed import KilledWorker

        member = self._present(name, stage)
        if name in self._claimed and member.study != self._study:
            self.claim(name)  # the hub started again and knows nothing
        client = self._connected()
        line = json.dumps({**request}).encode()
        sent = [self._sent(client, part, member.address) for part in (line, data)]
        key = f"{name}-{request.get('run') or request['do']}-{uuid.uuid4().hex}"
        future = client.submit(agent.carry, *sent, key=key, resources={name: 1}, pure=False, retries=0)
        until = time.monotonic() + timeout_s + SLACK_S
        try:
            while True:
                try:
                    return bytes(future.result(timeout=min(LOOK_AGAIN_S, max(0.05, until - time.monotonic()))))
                except KilledWorker as error:
                    raise Lost(f"{name} went away in {stage}", stage=stage) from error
                except TimeoutError:
                    self._present(name, stage)
                    if time.monotonic() > until:
                        self.stop(name)
                        limit = f"{stage} on {name} took longer than its limit of {timeout_s:g} s"
                        raise Timeout(limit, stage=stage) from None
        finally:
            future.release()

    @staticmethod
    def _sent(client: Any, part: bytes, address: str) -> Any:
        if len(part) <= INLINE_BYTES:
            return part
        return client.scatter(part, workers=[address], direct=True, hash=False)

    def stop(self, name: str) -> None:
        """End what a member does now: a cancelled task would go on."""
        found = {item.name: item.address for item in self.members()}
        if name in found:
            with contextlib.suppress(OSError, TimeoutError):
                self._connected().run(agent.stop, workers=[found[name]])

    def _present(self, name: str, stage: str) -> Member:
        for member in self.members():
            if member.name == name:
                return member
        raise Lost(f"{name} is not in the fleet at {self.hub} any more, it was to do {stage}", stage=stage)

    def _ask_hub(self, do: str, **request: Any) -> dict[str, Any]:
        client = self._connected()

        async def asked() -> Any:
            return await getattr(client.scheduler, do)(**request)

        try:
            return dict(client.sync(asked, callback_timeout=SLACK_S))
        except (OSError, TimeoutError, CancelledError) as error:
            self._forget_connection()
            raise Lost(f"the hub at {self.hub} went away") from error

    def _connected(self) -> Any:
        """The client; a new one where that lost the hub."""
        with self._lock:
            if self._client is None:
                self._client = self._new_client()
            return self._client

    def _new_client(self) -> Any:
        from distributed import Client

        settings.apply()
        try:
            greet(self.hub, self._certificates, "client")
            client = Client(
                str(self.hub),
                security=self._certificates.security(),
                timeout="10s",
                set_as_default=False,
                direct_to_workers=True,
                name="autoopt",
            )
        except (UsageError, OSError) as error:
            if self._been_there:  # it let us in before: it is down
                raise Lost(f"the hub at {self.hub} went away: {error}") from error
            raise
        self._been_there = True
        return client

    def _forget_connection(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # it is gone already
                client.close(timeout=1)
