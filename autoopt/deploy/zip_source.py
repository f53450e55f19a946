"""A bundle in a ZIP archive of somebody else: nothing in it leads outside, is a link or is larger than it says."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from autoopt.deploy.layout import CARD, check_name
from autoopt.deploy.receive import MOST_BYTES, MOST_FILES, copy_bounded
from autoopt.errors import BundleError

MOST_RATIO = 100
"""How many times larger than the archive its files may be together: weights shrink by far less."""
FREE_BYTES = 100_000_000
"""So much may be in any archive, whatever its own size."""
_DO_NOT = "do not use it"


class ZipSource:
    """A bundle in an archive, at its top or in the one folder at its top. Use it as a context manager.

    Raises BundleError for what is no archive, for names that lead outside, links, encrypted or doubled members, and for
    archives that would unpack to far more than their own size.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
            raise BundleError(
                f"{path} must be the folder of a bundle or a ZIP of one, it cannot be read: {error}"
            ) from error
        try:
            self._members = _checked(path, self._archive)
            self._top = _top(path, self._members)
        except BaseException:
            self._archive.close()
            raise

    def __str__(self) -> str:
        return str(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()

    def holds(self, name: str) -> bool:
        """Whether the archive has the file."""
        return f"{self._top}{name}" in self._members

    def copy(self, name: str, most_bytes: int, into: BinaryIO) -> None:
        """Unpack one member. Raises BundleError where it is missing, damaged or longer than `most_bytes`."""
        member = self._members.get(f"{self._top}{name}")
        if member is None:
            raise BundleError(f"{self._path} must hold {self._top}{name}, it does not: make the archive again")
        try:
            with self._archive.open(member) as stream:
                copy_bounded(stream, into, most_bytes, f"{name} in {self._path}")
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise BundleError(f"{name} in {self._path} cannot be unpacked ({error}): make the archive again") from error


def _checked(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of the archive by name. Raises BundleError for an archive that is no plain one."""
    members = archive.infolist()
    if len(members) > MOST_FILES:
        raise BundleError(f"{path} must hold at most {MOST_FILES} files, it holds {len(members)}: {_DO_NOT}")
    found: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        name = member.filename
        check_name(name.removesuffix("/"), path)
        mode = member.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise BundleError(f"{path} must hold plain files, {name} is a link or a device: {_DO_NOT}")
        if member.flag_bits & 1:
            raise BundleError(f"{path} must not be encrypted, {name} is: unpack it yourself, and pull from the folder")
        if name in found:
            raise BundleError(f"{path} must hold every name once, {name} is there twice: {_DO_NOT}")
        if not member.is_dir():
            found[name] = member
    total = sum(member.file_size for member in found.values())
    if total > min(MOST_BYTES, FREE_BYTES + MOST_RATIO * path.stat().st_size):
        raise BundleError(
            f"{path} of {path.stat().st_size} bytes would unpack to {total}, more than {MOST_RATIO} times as many: "
            f"{_DO_NOT}"
        )
    return found


def _top(path: Path, members: dict[str, zipfile.ZipInfo]) -> str:
    """What stands before the names of the bundle's files: nothing, or the one folder that holds them."""
    if CARD in members:
        return ""
    tops = sorted(name.removesuffix(CARD) for name in members if name.count("/") == 1 and name.endswith(f"/{CARD}"))
    if len(tops) != 1:
        raise BundleError(
            f"{path} must hold {CARD} at its top or in one folder, it does in {len(tops)}: pack the folder of a bundle"
        )
    return tops[0]
