"""What a driver and a keeper say to each other: a line of JSON, then the bytes of the files that it names.

Nothing is pickled. A line says in `parts` the name and the bytes of each file that follows it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

PROTOCOL = 1
"""Changes with what is said."""
PARTS = "parts"
LONGEST_LINE = 64_000_000
"""Bytes of a line; the samples of a measurement take some kilobytes."""
MOST_PARTS = 100_000
MOST_PART_BYTES = 2**40
PIECE_BYTES = 1 << 20


class Closed(Exception):
    """The other side is gone: nothing more can be read or written."""


class Malformed(Exception):
    """What was read is no message."""


def send(stream: IO[bytes], message: Mapping[str, Any], parts: Sequence[Path] = ()) -> None:
    """Write a message and the files `parts`, read in pieces. Raises Closed."""
    told = {**message, PARTS: [[path.name, path.stat().st_size] for path in parts]}
    try:
        stream.write(json.dumps(told).encode() + b"\n")
        for path, (_, size) in zip(parts, told[PARTS], strict=True):
            with path.open("rb") as file:
                _copy(file, stream, size)
        stream.flush()
    except (BrokenPipeError, ValueError) as error:  # ValueError: the stream was closed by this side
        raise Closed(str(error)) from error


def receive(stream: IO[bytes], folder: Path) -> tuple[dict[str, Any], list[Path]]:
    """The next message, and its files in `folder` in their order, as 0000, 0001 and so on.

    Raises Closed at the end of the stream, also in the middle of a file; Malformed for anything but a message.
    """
    line = stream.readline(LONGEST_LINE)
    if not line.endswith(b"\n"):
        if len(line) >= LONGEST_LINE:
            raise Malformed(f"a line must have at most {LONGEST_LINE} bytes")
        raise Closed("the other side ended")
    try:
        message = json.loads(line)
        sizes = [int(size) for _, size in message.pop(PARTS, [])]
    except (ValueError, TypeError, AttributeError) as error:
        raise Malformed(f"a line must be a message in JSON, it begins with {line[:60]!r}") from error
    if len(sizes) > MOST_PARTS or any(not 0 <= size <= MOST_PART_BYTES for size in sizes):
        raise Malformed("a message must name at most 100000 files of sensible sizes")
    paths = [folder / f"{place:04d}" for place in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        with path.open("wb") as file:
            _copy(stream, file, size)
    return message, paths


def sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def empty(folder: Path) -> None:
    """Remove all that is in a folder."""
    for item in folder.iterdir():
        shutil.rmtree(item) if item.is_dir() else item.unlink()


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    left = size
    while left:
        piece = source.read(min(left, PIECE_BYTES))
        if not piece:
            raise Closed(f"{left} of {size} bytes of a file are missing")
        target.write(piece)
        left -= len(piece)
