"""Real searches in processes of their own, as a user starts them, and the processes that they start."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from autoopt.core.records import TrialRecord
from autoopt.errors import NoStudy
from autoopt.measure.workers import WORKER
from autoopt.study.storage import read_study

ROOT = Path(__file__).resolve().parents[2]
MAKER = "autoopt.compress.maker_process"
COMMAND = """
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does before it imports numpy, which the plan does
from autoopt import cli
from autoopt.measure.timing import MeasuringPlan

cli.main(MeasuringPlan(processes=1, most_processes=1, noise_processes=1, warmup_max_s=0.2, rounds=2, most_rounds=2))
"""
"""The command as a user gives it, but for how long it measures."""
PATIENCE_S = 400.0
"""The longest that anything but the end of a search is waited for."""
LONGEST_S = 1200.0
"""The longest that a search may take to its end."""


class DidNotHold(AssertionError):
    """Something did not come that must come, such as a process that measures."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, negative for a signal that killed it, and what it said on standard error."""

    code: int
    said: str


class Search:
    """One command, run again and again: in a process of its own, with a temporary folder of its own in `folder`.

    `arguments` are those of `autoopt search`. `before` is put before the command, such as one that sets limits;
    `environment` is added to that of this process. A measuring lock lies in the temporary folder: it waits for no other
    search on this host. `folder` has what it says in log.txt.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str],
        *,
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.log = folder / "log.txt"
        self._command = [*before, sys.executable, "-c", COMMAND, "search", *arguments]
        self.temporary.mkdir(parents=True, exist_ok=True)
        own = {"PYTHONPATH": str(ROOT), "TMPDIR": str(self.temporary), "COLUMNS": "200"}
        self._environment = {**os.environ, **own, **(environment or {})}
        self._began_at = 0
        self.process: subprocess.Popen[bytes] | None = None

    def go_on(self, *, shell: str = "", cwd: Path | None = None) -> int:
        """Start it unless it runs, with redirections of a shell where given; its process id."""
        if self.process is None:
            command = ["sh", "-c", f'exec "$0" "$@" {shell}', *self._command] if shell else self._command
            with self.log.open("ab") as log:
                self._began_at = log.tell()
                self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment, cwd=cwd)
        return self.process.pid

    @property
    def said(self) -> str:
        """What it wrote since it was started the last time."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[self._began_at :].decode(errors="replace")

    @property
    def trials_told(self) -> int:
        """The trials that it told since it was started the last time."""
        return sum(is_trial_line(line) for line in self.said.splitlines())

    @property
    def runs(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    def wait_for(self, true: Callable[[], bool], what: str) -> None:
        """Wait until something holds; DidNotHold, saying `what`, when it takes too long or the search ends before."""
        wait_until(true, lambda: f"{what}\n{self.said[-1500:]}", self.process)

    def wait_for_worker(self) -> list[psutil.Process]:
        """Its processes that measure, at least one."""
        pid = self.go_on()
        self.wait_for(lambda: bool(children(pid, WORKER)), "the search does not measure")
        return children(pid, WORKER)

    def kill_worker(self, chance: random.Random) -> None:
        """kill -9 of any process that measures, be it the reference or one that waits for its turn."""
        while True:
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):  # it ended just before
                chance.choice(self.wait_for_worker()).kill()
                return

    def kill(self) -> None:
        """kill -9; what it started is gone within seconds."""
        process, self.process = self.process, None
        assert process is not None
        process.kill()
        process.wait()
        wait_until(lambda: not children(process.pid), lambda: f"left alive: {children(process.pid)}")

    def end(self, *, send: int | None = None, timeout_s: float = LONGEST_S) -> Ended:
        """Start it unless it runs, perhaps send it a signal, and wait for its end. Raises DidNotHold for a hang."""
        self.go_on()
        process = self.process
        assert process is not None
        if send is not None:
            process.send_signal(send)
        try:
            code = process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DidNotHold(f"it did not end within {timeout_s:g} s\n{self.said[-1500:]}") from None
        self.process = None
        return Ended(code, self.said)

    def finish(self) -> None:
        """Let it come to its end, without an error."""
        ended = self.end()
        if ended.code != 0 or "Traceback" in self.log.read_text():
            raise DidNotHold(f"exit code {ended.code}\n{self.log.read_text()[-3000:]}")

    def close(self) -> None:
        """End what still runs."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            self.kill()


def is_trial_line(line: str) -> bool:
    """Whether a line of a search tells of a trial: `3/8 #002 ...`."""
    count, _, rest = line.partition(" ")
    return rest.startswith("#") and count.replace("/", "").isdigit()


def children(pid: int, module: str = "autoopt.") -> list[psutil.Process]:
    """The processes of `module` that say that `pid` started them, oldest first, also when it is dead and they have
    another parent."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if words[-1:] == [str(pid)] and any(word.startswith(module) for word in words):
                found.append((process.create_time(), process.pid, process))
        except psutil.Error:  # it ended meanwhile; of one that waits to be collected nothing is left but its number
            continue
    return [process for _, _, process in sorted(found, key=lambda item: item[:2])]


def wait_until(
    true: Callable[[], bool], otherwise: Callable[[], str], process: subprocess.Popen[bytes] | None = None
) -> None:
    """Look again and again; DidNotHold with `otherwise` when it takes too long or `process` ends before."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > deadline or (process is not None and process.poll() is not None and not true()):
            raise DidNotHold(otherwise())
        time.sleep(0.05)


def records(home: Path) -> list[TrialRecord]:
    """What the study in a home folder holds, nothing before there is one."""
    try:
        return list(read_study(f"sqlite:///{home / 'study.db'}", None).records)
    except NoStudy:
        return []


def identities(found: Sequence[TrialRecord]) -> list[tuple[int, str, str]]:
    """What never changes of a stored trial."""
    return [(record.number, record.configuration.digest, record.started_at) for record in found]
