"""What a builder does for a search: the maker process with its own store, data and demo data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoopt.compress.maker import warm_child
from autoopt.core import memory
from autoopt.core.process import Child
from autoopt.core.store import Store
from autoopt.errors import UsageError
from autoopt.fleet.child_work import end_now
from autoopt.fleet.shipping import Shelf
from autoopt.measure.target import LocalTarget

MAKE = "make"
"""Asks for a request of the maker process, which `compress.maker` wrote; its paths become those of this machine."""


class BuilderWork:
    """One maker process per session; what it makes stays in `home`/store until others fetch it.

    `data` is where the data of the searches lie here, None for the path that the search has.
    """

    def __init__(self, home: Path, data: Path | None = None) -> None:
        self._home = home
        self._data = data
        self._store = Store(home / "store")
        self._shelf = Shelf(self._store)
        self._host = LocalTarget().host
        self._child: Child | None = None

    def answer(self, request: Mapping[str, Any], data: bytes) -> tuple[Mapping[str, Any], bytes]:
        """See `agent.Work`."""
        shelved = self._shelf.answer(request, data)
        if shelved is not None:
            return shelved
        if request["do"] != MAKE:
            raise UsageError(f"a builder must be asked for what it can do, got {request['do']!r}")
        if self._child is None:
            self._child = warm_child(self._host)
            self._child.receive(stage="check")
        own = self._here(request["request"])
        limit = memory.limit_bytes(self._host.memory_bytes)
        stage, timeout_s = str(request["stage"]), float(request["timeout_s"])
        answer = self._child.call(request["make"], own, stage=stage, timeout_s=timeout_s, memory_bytes=limit)
        return answer, b""

    def _here(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A request of the maker with the paths of this machine."""
        own = dict(request)
        if "origin" in own:
            data = own["origin"]["data"]
            if data is not None:
                data = str(self._data or data)
                if not Path(data).is_dir():
                    raise UsageError(
                        f"a builder must have the data of the search, {data} is no folder there: "
                        f"share it, or give autoopt builder serve its --data"
                    )
            own["origin"] = {**own["origin"], "data": data, "home": str(self._home.resolve())}
            own["store"] = str(self._store.root.resolve())
            own["threads"] = self._host.cores
            own["weights"] = str(self._weights(own.pop("weights_key"), Path(own["weights"])))
        return own

    def _weights(self, key: str, path: Path) -> Path:
        artifact = self._store.get("weights", key)
        assert artifact is not None  # it was sent before
        return artifact.path / path.name

    def stop(self) -> None:
        """See `agent.Work`."""
        if self._child is not None:
            end_now(self._child)

    def close(self) -> None:
        """See `agent.Work`."""
        if self._child is not None:
            self._child.close()
