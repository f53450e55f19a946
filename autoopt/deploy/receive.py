"""Bring a bundle here from somewhere else: read file by file, held to its digests, put in place whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from autoopt.core.plain_text import short
from autoopt.deploy.layout import (
    AGAIN,
    CARD,
    MOST_CARD_BYTES,
    MOST_SEAL_BYTES,
    SEAL,
    SIGNATURE,
    check_name,
    check_regular_file,
    read_card,
    verify_files,
)
from autoopt.deploy.writer import placing
from autoopt.errors import BundleError

MOST_FILES = 10_000
MOST_BYTES = 50_000_000_000
"""Of all files of a bundle together."""
CHUNK_BYTES = 1 << 20


class Source(Protocol):
    """Where a bundle comes from: a folder, an archive, a server."""

    def copy(self, name: str, most_bytes: int, into: BinaryIO) -> None:
        """Write the file `name` of the bundle into an open file.

        Raises BundleError or TrackingError where there is no such file, and before more than `most_bytes` are written.
        """
        ...

    def holds(self, name: str) -> bool:
        """Whether there is a file of this name that need not be there; False where that cannot be told."""
        ...

    def __str__(self) -> str:
        """What it is, for messages; without secrets."""
        ...


class FolderSource:
    """A bundle in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def holds(self, name: str) -> bool:
        """Whether the file is there."""
        return (self._folder / name).exists()

    def copy(self, name: str, most_bytes: int, into: BinaryIO) -> None:
        """Copy a plain file of the folder. Raises BundleError for a link, a missing file and a longer one."""
        check_regular_file(self._folder, name)
        with (self._folder / name).open("rb") as stream:
            copy_bounded(stream, into, most_bytes, f"{self._folder / name}")


def copy_bounded(stream: Any, into: BinaryIO, most_bytes: int, what: str) -> int:
    """Copy what `stream.read` gives, at most `most_bytes`; returns how much. Raises BundleError for more."""
    copied = 0
    while chunk := stream.read(min(CHUNK_BYTES, most_bytes - copied + 1)):
        copied += len(chunk)
        if copied > most_bytes:
            raise BundleError(f"{what} must have at most {most_bytes} bytes, it has more: {AGAIN}")
        into.write(chunk)
    return copied


def receive(source: Source, out: Path, *, seal: str | None = None) -> Path:
    """Write the bundle at `source` to the folder `out`, byte for byte; returns the folder.

    Only the files that bundle.json lists are taken, and a signature of it; they are verified before the folder gets its
    name. `seal` is the SHA-256 that bundle.json must have, where somebody else tells it. Raises BundleError, with
    nothing written, for a bundle that is incomplete, altered, not the one that was meant, or too large, and for an
    `out` that cannot take it.
    """
    with placing(out) as folder:
        wanted = [(CARD, MOST_CARD_BYTES), (SEAL, MOST_SEAL_BYTES)]
        wanted += [(SIGNATURE, MOST_SEAL_BYTES)] if source.holds(SIGNATURE) else []
        for name, most in wanted:
            with (folder / name).open("xb") as into:
                source.copy(name, most, into)
        found = hashlib.sha256((folder / CARD).read_bytes()).hexdigest()
        if seal is not None and found != seal:
            raise BundleError(
                f"{CARD} of {source} must have the SHA-256 {short(seal)}, it has {found}: do not use it, and register "
                "the model again"
            )
        card = _read_received(folder, source)
        _check_list(card["files"], source)
        for name, facts in card["files"].items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as into:
                source.copy(name, facts["bytes"], into)
        try:
            verify_files(folder, card["files"])
        except BundleError as error:
            raise _of_source(error, folder, source) from error
    return out


def _read_received(folder: Path, source: Source) -> dict[str, Any]:
    try:
        return read_card(folder)
    except BundleError as error:
        raise _of_source(error, folder, source) from error


def _of_source(error: BundleError, folder: Path, source: Source) -> BundleError:
    """The error with the place that the bundle comes from instead of the temporary folder, which is gone."""
    return BundleError(*(problem.replace(str(folder), str(source)) for problem in error.problems))


def _check_list(files: Mapping[str, Mapping[str, Any]], source: Source) -> None:
    """Raise BundleError for names that lead out of the folder, and for more or larger files than any bundle has."""
    where = f"{CARD} of {source}"
    if len(files) > MOST_FILES:
        raise BundleError(f"{where} must list at most {MOST_FILES} files, it lists {len(files)}: do not use it")
    for name in files:
        check_name(name, where)
        if name in (CARD, SEAL, SIGNATURE):
            raise BundleError(f"{where} must not list {name} itself: do not use it")
    found = [facts.get("bytes") for facts in files.values()]
    sizes = [size for size in found if isinstance(size, int) and not isinstance(size, bool) and size >= 0]
    if len(sizes) != len(files):
        raise BundleError(f"{where} must give the bytes of every file: do not use it")
    if (total := sum(sizes)) > MOST_BYTES:
        raise BundleError(
            f"{where} must list at most {MOST_BYTES / 1e9:g} GB, it lists {total / 1e9:.3g}: do not use it"
        )
