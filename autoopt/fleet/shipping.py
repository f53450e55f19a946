"""Artifacts on their way between machines, in pieces: verified by the digests in their manifests when they arrive.

A piece lies below `incoming/` of a store until all are there; only then the artifact exists, whole and under its key.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from autoopt.core.configuration import digest
from autoopt.core.store import Artifact, Store, file_digest
from autoopt.errors import Crash, StorageError

STAGE = "send"
PIECE_BYTES = 64_000_000
"""Of one message: as much is held in memory at a time, on either side."""
INCOMING = "incoming"
Ask = Callable[[Mapping[str, Any], bytes], tuple[Mapping[str, Any], bytes]]
"""Lets another machine do a request with bytes beside it."""


@dataclass(frozen=True)
class Goods:
    """What is known of an artifact before it is here: its manifest."""

    kind: str
    key: str
    made_by: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    report: Mapping[str, Any]

    @classmethod
    def of(cls, artifact: Artifact) -> Goods:
        """The manifest of an artifact that is here."""
        return cls(artifact.kind, artifact.key, artifact.made_by, artifact.files, artifact.report)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Goods:
        """Raises StorageError for a manifest whose key is not that of what made it, or whose files lie elsewhere."""
        found = cls(*(value[name] for name in ("kind", "key", "made_by", "files", "report")))
        if digest(found.made_by) != found.key or not str(found.kind).isalnum():
            raise StorageError(f"an artifact must have the key of what made it, got {found.key!r}")
        for name in found.files:
            _inside(name)
        return found

    def to_json(self) -> dict[str, Any]:
        """Read by `from_json`."""
        return dict(vars(self))


def weights_of(path: Path) -> Artifact:
    """A file of weights as an artifact that lies where the file lies."""
    files = {path.name: {"sha256": file_digest(path), "bytes": path.stat().st_size}}
    made_by = {"weights": files}
    return Artifact("weights", digest(made_by), path.parent, files, made_by, {})


def send(artifact: Artifact, ask: Ask) -> None:
    """Let another machine have an artifact, unless it has it. Raises StorageError for files that were altered."""
    goods = Goods.of(artifact)
    if ask({"do": "has", "kind": goods.kind, "key": goods.key}, b"")[0]["has"]:
        return
    for name in goods.files:
        for offset, piece in _pieces(artifact.path / name):
            ask({"do": "piece", "key": goods.key, "name": name, "offset": offset}, piece)
    ask({"do": "arrived", "goods": goods.to_json()}, b"")


def fetch(kind: str, key: str, store: Store, ask: Ask) -> Artifact:
    """An artifact of another machine, put into `store` unless it is there. Raises Crash where it arrives altered."""
    found = store.get(kind, key)
    if found is not None:
        return found
    goods = Goods.from_json(ask({"do": "goods", "kind": kind, "key": key}, b"")[0])
    if goods.key != key:
        raise Crash(f"{key} was asked for, {goods.key} came", stage=STAGE)
    incoming = Incoming(store)
    for name, item in goods.files.items():
        offset, length = 0, int(item["bytes"])
        while offset < length or not length:
            _, piece = ask({"do": "file", "kind": kind, "key": key, "name": name, "offset": offset}, b"")
            incoming.write(key, name, offset, piece)
            offset += len(piece)
            if not piece:
                break
    return incoming.arrived(goods)


def _inside(name: str) -> str:
    """A path below the folder that it is relative to. Raises StorageError for any other."""
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts:
        raise StorageError(f"a file of an artifact must lie in its folder, got {name!r}")
    return name


def _pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        offset = 0
        while (piece := file.read(PIECE_BYTES)) or not offset:
            yield offset, piece
            offset += len(piece)
            if not piece:
                return


class Incoming:
    """What is on its way into a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(self, key: str, name: str, offset: int, piece: bytes) -> None:
        """Note a piece of a file; the first one begins it anew. Raises Crash for a piece out of order."""
        path = self._folder(key) / _inside(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if offset != (path.stat().st_size if offset else 0):
            raise Crash(f"a piece of {name} is missing before byte {offset}", stage=STAGE)
        with path.open("ab" if offset else "wb") as file:
            file.write(piece)

    def arrived(self, goods: Goods) -> Artifact:
        """The artifact, once all its files are there. Raises Crash naming a file that was altered on the way."""
        folder = self._folder(goods.key)

        def build(final: Path) -> Mapping[str, Any]:
            for name, item in goods.files.items():
                path = folder / name
                if not path.is_file() or file_digest(path) != item["sha256"]:
                    raise Crash(f"{name} of {goods.key} was altered on the way", stage=STAGE)
                (final / name).parent.mkdir(parents=True, exist_ok=True)
                path.rename(final / name)
            return goods.report

        try:
            return self._store.put(goods.kind, goods.key, goods.made_by, build)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, key: str) -> Path:
        if not key.isalnum():
            raise StorageError(f"a key must be of letters and digits, got {key!r}")
        return self._store.root.parent / INCOMING / key


class Shelf:
    """A store that another machine puts artifacts into and takes them from: the other side of `send` and `fetch`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._incoming = Incoming(store)

    def answer(self, request: Mapping[str, Any], data: bytes) -> tuple[Mapping[str, Any], bytes] | None:
        """The answer to a request of `send` or `fetch`, None for any other."""
        do = request["do"]
        if do == "has":
            return {"has": self._store.get(request["kind"], request["key"]) is not None}, b""
        if do == "piece":
            self._incoming.write(request["key"], request["name"], int(request["offset"]), data)
            return {}, b""
        if do == "arrived":
            self._incoming.arrived(Goods.from_json(request["goods"]))
            return {}, b""
        if do == "goods":
            return Goods.of(self._found(request)).to_json(), b""
        if do == "file":
            artifact = self._found(request)
            if request["name"] not in artifact.files:
                raise Crash(f"{request['key']} has no file {request['name']!r}", stage=STAGE)
            with (artifact.path / request["name"]).open("rb") as file:
                file.seek(int(request["offset"]))
                return {}, file.read(PIECE_BYTES)
        return None

    def _found(self, request: Mapping[str, Any]) -> Artifact:
        artifact = self._store.get(request["kind"], request["key"])
        if artifact is None:
            raise Crash(f"{request['key']} must be in the store of this machine, it is not", stage=STAGE)
        return artifact
