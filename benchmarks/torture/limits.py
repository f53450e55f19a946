"""Limits of the system on a search: open files, memory, processes. It finishes, or says in one line what it lacks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence

from benchmarks.torture.commands import BEGUN, begun
from benchmarks.torture.judging import broken, ended_badly
from benchmarks.torture.searching import DidNotHold
from benchmarks.torture.table import Setting, Tried

OPEN_FILES = (12, 24, 48)
MEMORY_BYTES = (200_000_000, 600_000_000, 1_500_000_000)
PROCESSES = (1, 8, 24)
NOBODY = 65534
NO_ROOT = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
MAY_READ = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
"""Another user, since the kernel does not count the processes of root; it may read what only root may."""


def limits(setting: Setting) -> Iterator[Tried]:
    """Each limit at several sizes, set by prlimit before the command starts."""
    if shutil.which("prlimit") is None:
        yield Tried("all limits", skipped="prlimit is not installed")
        return
    for option, sizes in (("nofile", OPEN_FILES), ("as", MEMORY_BYTES)):
        for size in sizes:
            yield _one(setting, f"{option} {size}", ["prlimit", f"--{option}={size}:{size}"])
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        yield Tried("nproc", skipped="this user's other processes count as well, and setpriv as root is needed")
        return
    for size in PROCESSES:
        yield _one(setting, f"nproc {size}", [*NO_ROOT, *MAY_READ, "prlimit", f"--nproc={size}:{size}"], nobody=True)


def _one(setting: Setting, name: str, before: Sequence[str], *, nobody: bool = False) -> Tried:
    with begun(setting, before=before) as found:
        if nobody:
            found.search.folder.parent.chmod(0o755)
            for path in (found.search.folder.parent, *found.search.folder.parent.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        try:
            ended = found.search.end()
        except DidNotHold as error:
            return Tried(name, (str(error),))
        problems = list(ended_badly(ended, codes=(0, 2), lines=1))
        seen = found.look()
        problems += broken(seen, found.before, budget=len(seen.study.records))
        if ended.code == 0 and len(seen.study.records) != BEGUN + 1:
            problems.append(f"it ended with 0 after {len(seen.study.records)} trials")
        return Tried(name, tuple(problems))
