"""A target of tests: its workers run on this host, but it says it is another one, and it notes what it is asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from autoopt.core.host import Host
from autoopt.core.process import Child
from autoopt.core.store import Artifact
from autoopt.measure.host_load import Load
from autoopt.measure.target import LONGEST_WAIT_S, MEASURING, Exchange, LocalTarget

HOST = Host(cpu="another cpu", arch="x86_64", cores=2, memory_bytes=8 << 30, isa=("avx2",), system="Linux")


class RecordingTarget:
    """See `Target`. Artifacts are copied into `folder`, which is where workers find them; so are its locks.

    `asked` is what it was asked, in order, with "free" for the end of a lock; `load` is what else it claims to do, None
    for what this host does.
    """

    def __init__(self, folder: Path, *, host: Host = HOST, load: Load | None = None) -> None:
        self.host = host
        self.asked: list[str] = []
        self.no_energy = ""
        self.folder = folder
        self._load = load
        folder.mkdir(parents=True, exist_ok=True)
        self._local = LocalTarget(host, locks=folder)

    def worker(self, module: str, *, threads: int) -> Child:
        self.asked.append(f"worker {module.rpartition('.')[2]} {threads}")
        return self._local.worker(module, threads=threads)

    @contextmanager
    def exclusive(self, name: str = MEASURING, *, wait_s: float = LONGEST_WAIT_S) -> Iterator[None]:
        with self._local.exclusive(name, wait_s=wait_s):
            self.asked.append(f"lock {name}")
            yield
            self.asked.append(f"free {name}")

    def put(self, artifact: Artifact) -> str:
        self.asked.append(f"put {artifact.kind}")
        place = self.folder / artifact.key
        if not place.exists():
            shutil.copytree(self._local.put(artifact), place)
        return str(place)

    @contextmanager
    def exchange(self) -> Iterator[Exchange]:
        self.asked.append("exchange")
        with self._local.exchange() as exchange:
            yield exchange

    def load_from_now(self, workers: Sequence[int]) -> Callable[[], Load]:
        self.asked.append(f"load of others than {len(workers)}")
        real = self._local.load_from_now(workers)
        return lambda: self._load or real()

    def joules_from_now(self) -> Callable[[], float | None]:
        self.asked.append("joules")
        return lambda: 3.0

    def why_no_energy(self) -> str:
        return self.no_energy
