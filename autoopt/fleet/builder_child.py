"""A maker process on a builder of a fleet, as the `Maker` of a search uses one of its own."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from autoopt.core.process import USUAL_TIMEOUT_S
from autoopt.core.store import KIND, Artifact, Store
from autoopt.errors import BusyError, DataError, Timeout, TrialError, UsageError
from autoopt.fleet.agent import BYE
from autoopt.fleet.builder_work import MAKE
from autoopt.fleet.fleet import BACK_S, Fleet, Lost, Member
from autoopt.fleet.shipping import fetch, send, weights_of
from autoopt.measure.target import LocalTarget

T = TypeVar("T")

_log = logging.getLogger("autoopt")

TRIES = 3
"""Of a request whose builder or hub is lost."""
LONGEST_S = 7 * 24 * 3600.0
"""The limit of time of a request is only told when its answer is waited for."""
MAKING = ("torch", "nncf", "openvino", "onnxruntime")
"""Libraries whose versions decide what is made."""
SENDING_S = 3600.0
"""How long one piece of an artifact may be on its way."""


class BuilderChild:
    """Requests of a `Maker` go to a builder; artifacts that it needs are sent there, those that it makes come here.

    The first builder that nobody uses is taken, and another one where that is lost; `store` is that of the search,
    `imports` what the network needs besides torch. Use it as a context manager.
    """

    def __init__(self, fleet: Fleet, store: Store, imports: Sequence[str] = ()) -> None:
        self._fleet = fleet
        self._store = store
        self._imports = imports
        self._session = uuid.uuid4().hex
        self._name: str | None = None
        self._weights: dict[str, Artifact] = {}
        self._sent: set[tuple[str, str]] = set()
        self._pool = ThreadPoolExecutor(1, "builder")
        self._waiting: Future[tuple[dict[str, Any], bytes]] | None = None
        self._request: tuple[str, dict[str, Any], str] = ("", {}, "")

    def __enter__(self) -> Self:
        """Let it import its libraries while the caller goes on, as `compress.maker.warm_child` does."""
        self.send("warm", {"imports": list(self._imports)}, stage="check")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """None: its process is elsewhere."""
        return None

    def send(self, do: str, request: Mapping[str, Any] | None = None, *, stage: str, continues: bool = False) -> None:
        """See `process.Child`. Raises Lost where no builder is there, DataError where its data are others."""
        self._request = (do, dict(request or {}), stage)
        self._again(self._begin)

    def receive(
        self, *, stage: str, timeout_s: float = USUAL_TIMEOUT_S, memory_bytes: int | None = None
    ) -> dict[str, Any]:
        """See `process.Child`; the builder has a limit of memory of its own."""
        answer = self._again(lambda: self._received(stage, timeout_s))
        do, request, _ = self._request
        if do == "check":
            self._check_data(answer, request)
        return answer

    def _again(self, work: Callable[[], T]) -> T:
        """What `work` gives; where the builder or the hub is lost the request begins anew, some times."""
        for tries in range(1, TRIES + 1):
            try:
                if self._waiting is None and tries > 1:
                    self._begin()
                return work()
            except Lost as error:
                self._sent.clear()
                self._waiting = None
                if tries == TRIES:
                    raise
                _log.warning("autoopt: %s: asking again once a builder is there", error)
        raise AssertionError("the last try returns or raises")

    def _begin(self) -> None:
        do, request, stage = self._request
        self._name = self._chosen()
        own = dict(request)
        for name in ("source", "net"):
            if own.get(name) is not None:
                artifact = self._store.get(KIND, own[name])
                assert artifact is not None
                self._ship(artifact)
        if "weights" in own:
            weights = self._weights_of(own["weights"])
            self._ship(weights)
            own["weights_key"] = weights.key
        line = {"do": MAKE, "make": do, "run": stage, "request": own, "stage": stage, "timeout_s": LONGEST_S}
        self._waiting = self._pool.submit(self._asked, line, b"", stage, LONGEST_S)

    def _received(self, stage: str, timeout_s: float) -> dict[str, Any]:
        assert self._waiting is not None
        future, self._waiting = self._waiting, None
        try:
            answer, _ = future.result(timeout_s)
        except TimeoutError:
            assert self._name is not None
            self._fleet.stop(self._name)
            limit = f"{stage} on {self._name} took longer than its limit of {timeout_s:g} s"
            raise Timeout(limit, stage=stage) from None
        if "key" in self._request[1]:
            fetch(KIND, self._request[1]["key"], self._store, self._ask)
        return answer

    def close(self, *, now: bool = False) -> None:
        """End the process there, and give the builder back."""
        if self._name is None:
            return
        name, self._name = self._name, None
        try:
            if self._waiting is not None:  # nobody waits for what it is doing
                self._fleet.stop(name)
            self._fleet.call(name, {"do": BYE, "session": self._session}, stage="end", timeout_s=10)
            self._fleet.release(name)
        except (TrialError, UsageError):  # it is gone already
            pass
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _chosen(self) -> str:
        """The builder that we have; a free one where we have none or it went away."""
        until = time.monotonic() + BACK_S
        while True:
            with suppress(Lost):  # the hub may be on its way back
                members = self._fleet.members("builder")
                for member in members:
                    check_versions(member)
                there = [member.name for member in members]
                if self._name in there:
                    return str(self._name)
                for name in there:
                    with suppress(BusyError):
                        self._fleet.claim(name)
                        return name
            if time.monotonic() > until:
                raise Lost(f"no builder of the fleet at {self._fleet.hub} was free for {BACK_S:g} s")
            time.sleep(1.0)

    def _ship(self, artifact: Artifact) -> None:
        if (artifact.kind, artifact.key) not in self._sent:
            send(artifact, self._ask)
            self._sent.add((artifact.kind, artifact.key))

    def _weights_of(self, path: str) -> Artifact:
        if path not in self._weights:
            self._weights[path] = weights_of(Path(path))
        return self._weights[path]

    def _check_data(self, answer: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        if answer["data_digest"] != request["data_digest"]:
            raise DataError(
                f"a builder must have the data of the search, those of {self._name} are others: "
                f"share the folder, or give autoopt builder serve its --data"
            )

    def _ask(self, request: Mapping[str, Any], data: bytes) -> tuple[Mapping[str, Any], bytes]:
        return self._asked(request, data, "send", SENDING_S)

    def _asked(
        self, request: Mapping[str, Any], data: bytes, stage: str, timeout_s: float
    ) -> tuple[dict[str, Any], bytes]:
        assert self._name is not None
        return self._fleet.call(
            self._name, {**request, "session": self._session}, data, stage=stage, timeout_s=timeout_s
        )


def check_versions(member: Member) -> None:
    """Raise UsageError unless a builder's libraries are those of this machine: the keys of artifacts name them."""
    here, there = LocalTarget().host.versions, member.host.get("versions", {})
    differ = [
        f"{name} {there.get(name, 'not at all')} where this machine has {here[name]}"
        for name in MAKING
        if name in here and here[name] != there.get(name)
    ]
    if differ:
        raise UsageError(
            f"the builder {member.name} must have the libraries of this machine, it has {', '.join(differ)}"
        )
