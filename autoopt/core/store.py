"""The store of artifacts: folders named by a digest of what made them, complete or absent, verified when asked.

store/KIND/KEY/artifact.json   {"schema", "kind", "key", "made_by", "files": {name: {"sha256", "bytes"}}, "report"}
store/KIND/KEY/...             the files
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from autoopt.core.configuration import canonical_json, digest
from autoopt.core.host_problem import FULL
from autoopt.core.plain_text import parse_json, read_bounded, short
from autoopt.core.scratch import hidden_file, hidden_folder, remove_left_behind
from autoopt.errors import StorageError

SCHEMA = 1
KIND = "model"
"""The kind of all artifacts that the maker process makes."""
MANIFEST = "artifact.json"
MOST_MANIFEST_BYTES = 4_000_000
MOST_FILE_BYTES = 2**50
ROOM_BYTES = 1_000_000
LONGEST_NAME = 1000
"""Of the path of a file in an artifact, in characters."""
IN_USE_S = 24 * 3600.0
"""What was used so recently is not removed: another process may be at work with it."""
LEFT_BEHIND_S = 24 * 3600.0
"""No build takes so long: a temporary folder that is older belongs to a process that was killed."""


@dataclass(frozen=True)
class Artifact:
    """A folder of files; `made_by` is what its key is the digest of, `report` what its maker says of it."""

    kind: str
    key: str
    path: Path
    files: Mapping[str, Mapping[str, Any]]
    made_by: Mapping[str, Any]
    report: Mapping[str, Any]

    @property
    def size_bytes(self) -> int:
        """The bytes of all files but the manifest: what a deployment copies."""
        return sum(int(item["bytes"]) for item in self.files.values())

    @property
    def content(self) -> str:
        """A digest of the files' contents alone."""
        return digest({name: item["sha256"] for name, item in self.files.items()})


class Store:
    """Artifacts below `root`, one folder each."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, kind: str, key: str) -> Artifact | None:
        """The artifact, or None; it counts as used now. Raises StorageError for a manifest that cannot be read."""
        artifact = self._read(kind, key)
        if artifact is not None:
            with contextlib.suppress(OSError):  # a store that may only be read is still a store
                os.utime(artifact.path)
        return artifact

    def put(
        self, kind: str, key: str, made_by: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]]
    ) -> Artifact:
        """Let `build` fill a temporary folder, which gets its name in one step; what `build` returns is the report.

        When `build` raises, nothing is left behind; a full disk is a StorageError. Two processes may put the same key:
        the first one wins, both get the same artifact.
        """
        with _naming_full_disk(self.root):
            return self._put(kind, key, made_by, build)

    def _put(
        self, kind: str, key: str, made_by: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]]
    ) -> Artifact:
        final = self.root / kind / key
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = hidden_folder(final.parent)
        try:
            try:
                report = dict(build(temporary))
            except Exception:  # a library may not say that the disk was full when it could not write
                _check_room(temporary)
                raise
            files = {
                str(path.relative_to(temporary)): {"sha256": file_digest(path), "bytes": path.stat().st_size}
                for path in sorted(temporary.rglob("*"))
                if path.is_file()
            }
            manifest = {"schema": SCHEMA, "kind": kind, "key": key, "made_by": made_by, "files": files}
            manifest["report"] = report
            write_atomic(temporary / MANIFEST, canonical_json(manifest).encode())
            for name in files:
                _fsync(temporary / name)
            os.chmod(temporary, 0o755)  # mkdtemp lets nobody else in
            if final.is_dir() and not (final / MANIFEST).exists():
                _remove(final)  # what somebody deleted in part
            _rename_folder(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        artifact = self.get(kind, key)
        assert artifact is not None
        return artifact

    def verify(self, artifact: Artifact) -> None:
        """Raise StorageError naming the first file that is missing or altered."""
        remedy = f"delete {artifact.path} and run the command again"
        for name, expected in artifact.files.items():
            path = artifact.path / name
            if not path.is_file():
                raise StorageError(f"{path} is missing: {remedy}")
            if file_digest(path) != expected["sha256"]:
                raise StorageError(f"{path} was altered since it was made: {remedy}")

    def artifacts(self) -> Iterator[Artifact]:
        """All complete artifacts."""
        for manifest in sorted(self.root.glob(f"*/[!.]*/{MANIFEST}")):
            artifact = self._read(manifest.parent.parent.name, manifest.parent.name)
            if artifact is not None:
                yield artifact

    def remove_left_behind(self) -> None:
        """Remove what killed processes left half-made; what earlier versions named otherwise once it is a day old."""
        for folder in self.root.glob("[!.]*"):
            remove_left_behind(folder)
        for left in self.root.glob("*/.*"):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                if left.is_dir() and left.stat().st_mtime < time.time() - LEFT_BEHIND_S:
                    shutil.rmtree(left, ignore_errors=True)

    def size_bytes(self) -> int:
        """The bytes of all complete artifacts."""
        return sum(artifact.size_bytes for artifact in self.artifacts())

    def collect(self, keep: set[str], max_bytes: int, *, in_use_s: float = IN_USE_S) -> list[Artifact]:
        """Remove the artifacts that were not used for the longest time until `max_bytes` are left; returns them.

        Those whose keys are in `keep` stay, and those used within `in_use_s` seconds: another process may be at work
        with them. What killed processes left half-made goes as well.
        """
        self.remove_left_behind()
        not_kept = [(a.path.stat().st_mtime, a.key, a) for a in self.artifacts() if a.key not in keep]
        removable = [a for used_at, _, a in sorted(not_kept) if used_at <= time.time() - in_use_s]
        total = self.size_bytes()
        removed = []
        for artifact in removable:
            if total <= max_bytes:
                break
            _remove(artifact.path)
            total -= artifact.size_bytes
            removed.append(artifact)
        return removed

    def _read(self, kind: str, key: str) -> Artifact | None:
        path = self.root / kind / key
        try:
            manifest = parse_json(read_bounded(path / MANIFEST, MOST_MANIFEST_BYTES))
            schema, files = manifest["schema"], manifest["files"]
            artifact = Artifact(kind, key, path, files, manifest["made_by"], manifest["report"])
            own = (manifest["kind"], manifest["key"]) == (kind, key)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path / MANIFEST} was damaged: delete {path} and run the command again") from error
        if schema != SCHEMA:
            raise StorageError(f"{path} has artifact schema {short(schema)}, this version reads {SCHEMA}: delete it")
        if not own or not _is_whole(artifact):
            raise StorageError(f"{path / MANIFEST} was damaged: delete {path} and run the command again")
        return artifact


def _is_whole(artifact: Artifact) -> bool:
    """Whether all fields of a manifest have the right kinds, and its files lie in its folder."""
    kinds = (artifact.files, artifact.made_by, artifact.report)
    if not all(isinstance(item, Mapping) for item in kinds) or not all(map(_is_inside, artifact.files)):
        return False
    return all(
        isinstance(item, Mapping)
        and isinstance(item.get("sha256"), str)
        and isinstance(item.get("bytes"), int)
        and 0 <= item["bytes"] < MOST_FILE_BYTES
        for item in artifact.files.values()
    )


def _is_inside(name: str) -> bool:
    """Whether a path leads to a file below the folder that it is relative to."""
    pure = PurePosixPath(name)
    return 0 < len(name) <= LONGEST_NAME and name.isprintable() and not pure.is_absolute() and ".." not in pure.parts


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_room(folder: Path) -> None:
    """Raise the OSError of a full disk where not even `ROOM_BYTES` more can be written into `folder`."""
    with tempfile.TemporaryFile(dir=folder) as stream:
        stream.write(bytes(ROOM_BYTES))
        stream.flush()


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name, flush it to the disk, then rename: the file is complete or not there."""
    with _naming_full_disk(path.parent):
        handle, temporary = hidden_file(path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def writable_folder(path: Path) -> Path:
    """`path`, made if need be. Raises StorageError when nothing can be written there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise StorageError(
            f"{path} must be a folder this user can write to ({error.strerror}): choose another with --home"
        ) from error
    return path


def _remove(folder: Path) -> None:
    """Rename the folder first: when this process is killed half-way, nothing incomplete is left under its name."""
    doomed = hidden_folder(folder.parent)
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        os.rename(folder, doomed / folder.name)
    shutil.rmtree(doomed, ignore_errors=True)


def _rename_folder(source: Path, final: Path) -> None:
    try:
        os.rename(source, final)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
    _fsync(final.parent)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _naming_full_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            remedy = "free some space, then run the command again"
            raise StorageError(f"no room left on the disk of {path}: {remedy}") from error
        raise
