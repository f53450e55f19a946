"""Home folders of odd names and kinds: a search goes on in each, or says in one line why it cannot."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.torture.commands import arguments, begun
from benchmarks.torture.judging import ended_badly
from benchmarks.torture.mounts import may_mount, mounted
from benchmarks.torture.searching import DidNotHold, Search
from benchmarks.torture.table import Setting, Tried

NAMES = {
    "spaces, unicode, %, #, quotes, &": ' two  words/Klinik-Köln-日本-e\u0301/100%20 %s/a#b/it\'s "so" & more',
    "question mark": "a?b=c",
    "long": "/".join(["l" * 60] * 5),
}
TOO_LONG = "/".join(["l" * 200] * 6)
"""Longer than SQLite takes (512 bytes), though the system takes it."""


def homes(setting: Setting) -> Iterator[Tried]:
    """A search continues in a home folder of each name, in one given by a relative path and by a link."""
    for what, name in NAMES.items():
        yield _continued(setting, what, name)
    yield _continued(setting, "relative", "here", relative=True)
    yield _continued(setting, "link", "linked", link=True)
    with setting.folder() as folder:
        yield _refused(setting, folder, "too long", folder / TOO_LONG, "path")
        yield _refused(setting, folder, "name too long", folder / ("n" * 300), "name")
        (folder / "file").touch()
        yield _refused(setting, folder, "a file", folder / "file", "must be a folder")
        yield _read_only(setting, folder)


def _continued(setting: Setting, what: str, name: str, *, relative: bool = False, link: bool = False) -> Tried:
    with begun(setting, name=name, given=name if relative or link else None) as found:
        folder = found.home.parent
        if link:
            target = found.home.rename(folder / "target")
            found.home.symlink_to(target)
        try:
            found.search.go_on(cwd=folder if relative or link else None)
            return Tried(what, tuple(found.goes_on()))
        except DidNotHold as error:
            return Tried(what, (str(error),))


def _refused(setting: Setting, folder: Path, what: str, home: Path, word: str) -> Tried:
    search = Search(folder / "search", arguments(setting.data, home))
    try:
        return Tried(what, tuple(ended_badly(search.end(), codes=(2,), words=(word,), lines=1)))
    except DidNotHold as error:
        return Tried(what, (str(error),))
    finally:
        search.close()


def _read_only(setting: Setting, folder: Path) -> Tried:
    home = folder / "read-only"
    home.mkdir()
    if os.getuid() != 0:
        home.chmod(0o500)
        return _refused(setting, folder, "read-only", home, "must be a folder")
    if not may_mount():
        return Tried("read-only", skipped="root may write everywhere, and this process may not mount")
    with mounted(home, "10m"):
        subprocess.run(["mount", "-o", "remount,ro", str(home)], check=True)  # noqa: S607 - the system's own
        return _refused(setting, folder, "read-only", home, "must be a folder")
