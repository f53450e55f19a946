"""The machine that measures. `LocalTarget` is this one, and the only one so far; another would be reached from here.

Artifacts are made on the builder, which may be another machine: its `Host` and the target's are two values, though they
are equal so far. Whatever is timed, locked or read where it is measured goes through a `Target`; nothing else asks what
"this host" is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from autoopt.core.host import Host
from autoopt.core.process import Child, thread_limits
from autoopt.core.scratch import scratch_folder
from autoopt.core.store import Artifact
from autoopt.errors import Crash
from autoopt.measure import energy, host_load
from autoopt.measure.host import current_host
from autoopt.measure.host_load import Load
from autoopt.measure.lock import host_lock

_log = logging.getLogger("autoopt")

MEASURING = "measure"
"""The lock that whoever times something holds."""
STAGE = "measure"
LONGEST_WAIT_S = 3600.0
"""How long another measurement on the target may keep this one waiting."""


class Exchange(Protocol):
    """A temporary folder of the target, for arrays that a worker reads or writes. Nothing is pickled."""

    @property
    def path(self) -> str:
        """The folder, as a worker finds it."""
        ...

    def write(self, name: str, array: np.ndarray) -> None:
        """Put an array where a worker can read it."""
        ...

    def read(self, name: str) -> np.ndarray:
        """An array that a worker wrote. Raises FileNotFoundError."""
        ...


class Target(Protocol):
    """The machine that measures: its processes, its locks, what else it does, its files."""

    @property
    def host(self) -> Host:
        """What it is: for the canonical forms of configurations, seeds, measurements, records and the study's card."""
        ...

    def worker(self, module: str, *, threads: int) -> Child:
        """A process of its own for `module`, started by its first request, whose libraries use so many threads."""
        ...

    def exclusive(self, name: str = MEASURING, *, wait_s: float = LONGEST_WAIT_S) -> AbstractContextManager[None]:
        """Hold a lock of the target for a block. Raises BusyError, naming the holder, after `wait_s` seconds."""
        ...

    def put(self, artifact: Artifact) -> str:
        """The folder where a worker finds the files of `artifact`. Raises Crash naming a file that vanished."""
        ...

    def exchange(self) -> AbstractContextManager[Exchange]:
        """An empty folder for arrays, removed at the end of the block."""
        ...

    def load_from_now(self, workers: Sequence[int]) -> Callable[[], Load]:
        """Begin to note what the target does besides `workers`, given by process id; the result says it, when called.

        This process does not count as something else either.
        """
        ...

    def joules_from_now(self) -> Callable[[], float | None]:
        """Begin to count what the processor consumes; the result says it in joules, None where nothing can be read."""
        ...

    def why_no_energy(self) -> str:
        """Why `joules_from_now` can tell nothing, and what to do; empty where it can."""
        ...


@dataclass(frozen=True)
class Folder:
    """A folder of this machine as an `Exchange`."""

    path: str

    def write(self, name: str, array: np.ndarray) -> None:
        """See `Exchange`."""
        np.save(Path(self.path) / name, array, allow_pickle=False)

    def read(self, name: str) -> np.ndarray:
        """See `Exchange`."""
        array: np.ndarray = np.load(Path(self.path) / name, allow_pickle=False)
        return array


class LocalTarget:
    """This machine: see `Target`.

    `host` is what it is taken for, by default what it is; `locks` is the folder of its locks, by default one of this
    user in the system's temporary folder. `on_wait` is told, once per process that is waited for, that the machine is
    busy and by which process; by default the logger `autoopt`, which writes to stderr unless it is configured.
    """

    def __init__(
        self, host: Host | None = None, *, locks: Path | None = None, on_wait: Callable[[str], None] = _log.warning
    ) -> None:
        self._host = host
        self._locks = locks
        self._on_wait = on_wait
        self._told: set[int | None] = set()

    @property
    def host(self) -> Host:
        """See `Target`; read once per process."""
        return self._host or current_host()

    def worker(self, module: str, *, threads: int) -> Child:
        """See `Target`."""
        return Child(module, environment=thread_limits(threads))

    @contextmanager
    def exclusive(self, name: str = MEASURING, *, wait_s: float = LONGEST_WAIT_S) -> Iterator[None]:
        """See `Target`."""

        def tell(holder: int | None) -> None:
            if holder not in self._told:
                self._told.add(holder)
                who = "another process" if holder is None else f"process {holder}"
                self._on_wait(
                    f"autoopt: this host is busy: waiting for {who}, which holds {name!r}, at most {wait_s:g} s"
                )

        with host_lock(name, timeout_s=wait_s, on_wait=tell, folder=self._locks):
            yield

    def put(self, artifact: Artifact) -> str:
        """See `Target`: the artifact's own folder."""
        for name in artifact.files:
            if not (artifact.path / name).is_file():  # a runtime would refuse the model and be blamed for it
                raise Crash(f"{artifact.path / name} vanished after it was made", stage=STAGE)
        return str(artifact.path)

    @contextmanager
    def exchange(self) -> Iterator[Exchange]:
        """See `Target`."""
        with scratch_folder() as folder:
            yield Folder(str(folder))

    def load_from_now(self, workers: Sequence[int]) -> Callable[[], Load]:
        """See `Target`."""
        own = (os.getpid(), *workers)
        before = host_load.snapshot(own)
        return lambda: host_load.between(before, host_load.snapshot(own))

    def joules_from_now(self) -> Callable[[], float | None]:
        """See `Target`."""
        before = energy.read()
        return lambda: energy.between(before, energy.read())

    def why_no_energy(self) -> str:
        """See `Target`."""
        return energy.why_unreadable()
