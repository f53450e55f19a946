"""A disk that becomes full: that of the artifacts, of study.db, of mlflow.db, of the temporary folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.torture.commands import Begun, begun
from benchmarks.torture.judging import ended_badly
from benchmarks.torture.mounts import fill, make_room, may_mount, mounted
from benchmarks.torture.searching import MAKER, DidNotHold, children
from benchmarks.torture.table import Setting, Tried

SIZES = {"artifacts": "60m", "study": "20m", "mlflow": "20m", "tmp": "200m"}
"""The disk of each."""
WORDS = ("no room left",)


def disk(setting: Setting) -> Iterator[Tried]:
    """Each disk by itself is full from when the search runs; then there is room again and the command goes on."""
    for what, size in SIZES.items():
        name = f"{what}: full"
        if not may_mount():
            yield Tried(name, skipped="this process may not mount a small disk")
            continue
        with ExitStack() as held:
            place = mounted(held.enter_context(setting.folder()) / "disk", size)
            small = held.enter_context(place)
            disks = {what: small} if what != "artifacts" else {"study": small.parent, "mlflow": small.parent}
            found = held.enter_context(begun(setting, disks=disks))
            try:
                problems = _one(found, what, small)
            except DidNotHold as error:
                problems = [str(error)]
            yield Tried(name, tuple(problems))


def _one(found: Begun, what: str, small: Path) -> list[str]:
    search, lock = found.search, Path(found.storage.removeprefix("sqlite:///")).parent
    if what == "artifacts":
        _onto(small, found.home / "store")
    pid = search.go_on()
    search.wait_for(lambda: any(file.read_text() for file in lock.glob("*.lock")), "the search does not begin")
    search.wait_for(lambda: bool(children(pid, MAKER)), "nothing makes artifacts")
    fill(small)
    problems = list(ended_badly(search.end(), codes=(2,), words=WORDS))
    make_room(small)
    return [*problems, *found.goes_on()]


def _onto(disk: Path, store: Path) -> None:
    """Let the store lie on the small disk."""
    shutil.copytree(store, disk / "store")
    shutil.rmtree(store)
    store.symlink_to(disk / "store")
