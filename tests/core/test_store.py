"""The store: folders complete or absent, whatever happens while they are made."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from autoopt.core.store import LEFT_BEHIND_S, MANIFEST, Store, file_digest, writable_folder, write_atomic
from autoopt.errors import StorageError
from benchmarks.torture.mounts import fill, may_mount, mounted

MADE_BY = {"format": "onnx"}


def build(folder: Path) -> Mapping[str, Any]:
    (folder / "model.bin").write_bytes(b"12345")
    (folder / "sub").mkdir()
    (folder / "sub" / "labels.json").write_text("[]")
    return {"seconds": 1.5}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def everything(store: Store) -> set[str]:
    return {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}


def test_put_then_get(store: Store) -> None:
    """What was put comes back with its files, their sizes, what made it and the report; others may read it."""
    assert store.get("export", "k1") is None
    artifact = store.put("export", "k1", MADE_BY, build)
    assert store.get("export", "k1") == artifact
    assert (artifact.size_bytes, artifact.made_by, artifact.report) == (7, MADE_BY, {"seconds": 1.5})
    assert set(artifact.files) == {"model.bin", "sub/labels.json"}
    assert artifact.path.stat().st_mode & 0o777 == 0o755
    assert everything(store) == {f"export/k1/{name}" for name in ("model.bin", "sub/labels.json", MANIFEST)}
    store.verify(artifact)


def test_a_failed_build_leaves_nothing(store: Store) -> None:
    """Whatever a build raises passes on, and neither the artifact nor a temporary folder is left."""

    def fail(folder: Path) -> Mapping[str, Any]:
        build(folder)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        store.put("export", "k1", MADE_BY, fail)
    assert store.get("export", "k1") is None
    assert list((store.root / "export").iterdir()) == []


def test_a_full_disk_is_named(store: Store) -> None:
    """A disk without room is one clear error, and nothing half-written is left."""

    def fail(folder: Path) -> Mapping[str, Any]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match=r"no room left on the disk of .*: free some space"):
        store.put("export", "k1", MADE_BY, fail)
    assert list((store.root / "export").iterdir()) == []


def test_killed_while_building(store: Store) -> None:
    """A process killed in the middle of a build leaves no artifact under the name, and the next build succeeds."""
    code = (
        "import os, sys; from pathlib import Path; from autoopt.core.store import Store\n"
        "def build(folder):\n    (folder / 'model.bin').write_bytes(b'1'); os.kill(os.getpid(), 9)\n"
        "Store(Path(sys.argv[1])).put('export', 'k1', {}, build)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(store.root)], check=False)
    assert done.returncode == -9
    assert store.get("export", "k1") is None
    assert list(store.artifacts()) == []
    store.put("export", "k1", MADE_BY, build)
    (left,) = [path for path in (store.root / "export").iterdir() if path.name != "k1"]
    os.utime(left, (0, left.stat().st_mtime - LEFT_BEHIND_S - 1))
    store.remove_left_behind()
    assert [path.name for path in (store.root / "export").iterdir()] == ["k1"]


def test_two_put_the_same(store: Store) -> None:
    """Many at once may make one artifact: all get the same, complete one, and nothing else is left."""
    with ThreadPoolExecutor(8) as pool:
        artifacts = list(pool.map(lambda _: store.put("export", "k1", MADE_BY, build), range(16)))
    assert all(artifact == artifacts[0] for artifact in artifacts)
    store.verify(artifacts[0])
    assert [path.name for path in (store.root / "export").iterdir()] == ["k1"]


def test_a_folder_deleted_in_part_is_made_again(store: Store) -> None:
    """A folder without its manifest is no artifact, and is replaced by the next build."""
    artifact = store.put("export", "k1", MADE_BY, build)
    (artifact.path / MANIFEST).unlink()
    assert store.get("export", "k1") is None
    store.verify(store.put("export", "k1", MADE_BY, build))
    assert [path.name for path in (store.root / "export").iterdir()] == ["k1"]


def test_alterations_are_found(store: Store) -> None:
    """A changed byte, a missing file, a damaged manifest and another schema are each named."""
    artifact = store.put("export", "k1", MADE_BY, build)
    (artifact.path / "model.bin").write_bytes(b"12346")
    with pytest.raises(StorageError, match=r"model.bin was altered since it was made: delete .*k1"):
        store.verify(artifact)
    (artifact.path / "model.bin").unlink()
    with pytest.raises(StorageError, match=r"model.bin is missing: delete .*k1"):
        store.verify(artifact)
    manifest = json.loads((artifact.path / MANIFEST).read_text())
    (artifact.path / MANIFEST).write_text(json.dumps(manifest | {"schema": 99}))
    with pytest.raises(StorageError, match="has artifact schema 99, this version reads 1"):
        store.get("export", "k1")
    for damaged in ("{", "[]", '{"schema": 1}', "\x00"):
        (artifact.path / MANIFEST).write_text(damaged)
        with pytest.raises(StorageError, match=r"artifact.json was damaged: delete .*k1"):
            store.get("export", "k1")


def test_collect_removes_the_longest_unused(store: Store) -> None:
    """Over the cap the longest unused go first, never those to keep, and only as many as needed."""
    for age, key in enumerate(("new", "used", "kept", "old")):
        artifact = store.put("export", key, MADE_BY, build)
        os.utime(artifact.path, (0, 10_000 - age))
    store.get("export", "used")
    removed = store.collect(keep={"kept"}, max_bytes=14)
    assert [artifact.key for artifact in removed] == ["old", "new"]
    assert [artifact.key for artifact in store.artifacts()] == ["kept", "used"]
    assert store.collect(keep=set(), max_bytes=14) == []
    assert [artifact.key for artifact in store.collect(keep=set(), max_bytes=0)] == ["kept"], "one is still in use"


def test_write_atomic_replaces_whole(tmp_path: Path) -> None:
    """A file is replaced in one step and leaves no temporary file; where it cannot be written the old one stays."""
    path = tmp_path / "f"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert file_digest(path) == "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"
    with pytest.raises(TypeError):
        write_atomic(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A file in the way of a folder is said in words; a missing folder is made."""
    assert writable_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file must be a folder this user can write to .*--home"):
        writable_folder(tmp_path / "file")


@pytest.mark.skipif(not may_mount(), reason="needs a small disk of its own, which this process may not mount")
def test_a_full_disk_is_found_where_a_library_does_not_say_it(tmp_path: Path) -> None:
    """Whatever a library raises when it cannot write, a disk without room is a StorageError; else its error passes."""

    def build(folder: Path) -> dict[str, str]:
        fill(folder)
        raise RuntimeError("iostream error")

    def fail(folder: Path) -> dict[str, str]:
        raise RuntimeError("iostream error")

    with mounted(tmp_path / "small", "4m") as disk:
        with pytest.raises(StorageError, match="no room left on the disk"):
            Store(disk).put("model", "0" * 64, {}, build)
        with pytest.raises(RuntimeError, match="iostream error"):
            Store(disk).put("model", "0" * 64, {}, fail)
