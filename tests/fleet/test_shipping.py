"""Artifacts between two stores: in pieces, once, and not at all where they were altered on the way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autoopt.core.configuration import digest
from autoopt.core.store import Artifact, Store
from autoopt.errors import Crash, StorageError
from autoopt.fleet import shipping
from autoopt.fleet.shipping import Shelf, fetch, send, weights_of


class Wire:
    """A shelf on another machine; `altered` is what becomes of bytes on the way."""

    def __init__(self, folder: Path, altered: bytes | None = None) -> None:
        self.store = Store(folder / "store")
        self.asked: list[str] = []
        self._shelf = Shelf(self.store)
        self._altered = altered

    def __call__(self, request: Mapping[str, Any], data: bytes) -> tuple[Mapping[str, Any], bytes]:
        self.asked.append(request["do"])
        answer = self._shelf.answer(request, self._altered if self._altered and data else data)
        assert answer is not None
        return answer[0], self._altered if self._altered and answer[1] else answer[1]


def artifact_in(store: Store) -> Artifact:
    def build(folder: Path) -> Mapping[str, Any]:
        (folder / "deep").mkdir()
        (folder / "model.bin").write_bytes(bytes(range(256)) * 10)
        (folder / "deep" / "empty").touch()
        return {"layers": 2}

    made_by = {"stage": "export"}
    return store.put("model", digest(made_by), made_by, build)


def test_an_artifact_goes_there_and_back(tmp_path: Path) -> None:
    """All of it arrives, in pieces; the second time nothing is sent. Nothing is left of what was on its way."""
    wire = Wire(tmp_path / "there")
    artifact = artifact_in(Store(tmp_path / "here" / "store"))

    send(artifact, wire)
    send(artifact, wire)
    assert wire.asked == ["has", "piece", "piece", "arrived", "has"]
    back = fetch("model", artifact.key, Store(tmp_path / "back" / "store"), wire)

    for found in (back, wire.store.get("model", artifact.key)):
        assert found is not None
        assert (found.key, found.files, found.report) == (artifact.key, artifact.files, {"layers": 2})
        Store(tmp_path).verify(found)
    assert not list(tmp_path.glob("*/incoming/*"))


def test_what_was_altered_on_the_way_is_refused(tmp_path: Path) -> None:
    """In both directions, and the store has nothing of it."""
    artifact = artifact_in(Store(tmp_path / "here" / "store"))
    there = Wire(tmp_path / "there", altered=b"x" * 2560)
    with pytest.raises(Crash, match=r"model\.bin of .* was altered on the way"):
        send(artifact, there)
    assert there.store.get("model", artifact.key) is None

    honest = Wire(tmp_path / "honest")
    send(artifact, honest)
    liar = Wire(tmp_path / "honest", altered=b"x" * 2560)
    with pytest.raises(Crash, match="was altered on the way"):
        fetch("model", artifact.key, Store(tmp_path / "back" / "store"), liar)
    assert not list((tmp_path / "back").glob("store/model/*/*"))


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ""])
def test_files_cannot_leave_their_folder(tmp_path: Path, name: str) -> None:
    """A piece or a manifest with a path elsewhere is refused."""
    wire = Wire(tmp_path)
    with pytest.raises(StorageError, match="must lie in its folder"):
        wire({"do": "piece", "key": "a", "name": name, "offset": 0}, b"x")
    goods = {"kind": "model", "key": digest({}), "made_by": {}, "files": {name: {}}, "report": {}}
    with pytest.raises(StorageError, match="must lie in its folder"):
        wire({"do": "arrived", "goods": goods}, b"")
    with pytest.raises(StorageError, match="the key of what made it"):
        wire({"do": "arrived", "goods": {**goods, "files": {}, "key": "abc"}}, b"")
    with pytest.raises(StorageError, match="letters and digits"):
        wire({"do": "piece", "key": "../a", "name": "x", "offset": 0}, b"x")


def test_weights_go_as_they_are(tmp_path: Path) -> None:
    """A file of weights is an artifact by its digest, whatever folder it lies in."""
    (tmp_path / "net.pt").write_bytes(b"weights")
    wire = Wire(tmp_path / "there")
    artifact = weights_of(tmp_path / "net.pt")

    send(artifact, wire)

    found = wire.store.get("weights", artifact.key)
    assert found is not None and (found.path / "net.pt").read_bytes() == b"weights"
    assert shipping.weights_of(tmp_path / "net.pt").key == artifact.key
