"""Tries inputs in processes of their own, with limits of memory and time: what an input does, as one `Outcome`.

`Probe` is the parent's side: it starts `python -m tests.fuzz.probe TARGET`, which imports what the target needs once
and then forks for every input. A fork ends with its input: what it leaks, hangs or crashes meets no other.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from autoopt.core.process import QUIET, thread_limits

SPARE_BYTES = 200_000_000
"""The memory that an input may take beyond the size of its files."""
PROCESSOR_S = 2
"""The seconds of processor time that an input may take: on a busy host they are the seconds of an idle one."""
TIMEOUT_S = 20.0
"""After this an input hangs, however busy the host is."""
ROOM_BYTES = 6_000_000_000
"""Of a target with threads, whose stacks fill an address space: a limit that protects the host."""

ACCEPTED = "accepted"
REFUSED = "refused"
COUNTS: Counter[tuple[str, str]] = Counter()
"""How many inputs were tried, by target and what became of them."""


@dataclass(frozen=True)
class Outcome:
    """What an input did: it was `accepted`, `refused` by an error of the right class, or neither: `what` says more."""

    kind: str
    what: str
    peak_bytes: int = 0

    @property
    def good(self) -> bool:
        """Whether the input was accepted, or refused as it should be."""
        return self.kind in (ACCEPTED, REFUSED)


class Probe:
    """A context manager that tries the inputs of one target."""

    def __init__(self, target: str) -> None:
        self._target = target
        environment = {**os.environ, **QUIET, **thread_limits(1), "MALLOC_ARENA_MAX": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.probe", target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __call__(self, path: Path, **arguments: Any) -> Outcome:
        """What the input at `path` does."""
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {"path": str(path), "arguments": arguments, "bytes": size_of(path)}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        outcome = Outcome(**json.loads(self._process.stdout.readline()))
        COUNTS[self._target, outcome.kind if outcome.good else "failed"] += 1
        return outcome


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files below a folder; links are not followed."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_symlink() and file.is_file())


def attempt(target: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Try one input in a fork: its outcome as JSON."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        os.setsid()
        _limit(target, request["bytes"])
        with os.fdopen(write_end, "wb") as stream:
            stream.write(json.dumps(_tried(target, request)).encode())
        os._exit(0)
    os.close(write_end)
    data, hung = b"", False
    while True:
        if not select.select([read_end], [], [], TIMEOUT_S)[0]:
            hung = True
            os.killpg(pid, signal.SIGKILL)
        chunk = os.read(read_end, 65536)
        if not chunk:
            break
        data += chunk
    os.close(read_end)
    _, status = os.waitpid(pid, 0)
    if data and not hung:
        found: dict[str, Any] = json.loads(data)
        return found
    if hung:
        return {"kind": "hung", "what": f"no answer within {TIMEOUT_S:g} s"}
    number = signal.Signals(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None
    if number in (signal.SIGXCPU, signal.SIGKILL):
        return {"kind": "slow", "what": f"more than {target.seconds} s of processor time"}
    return {"kind": "died", "what": f"ended by {number!r}, status {status}"}


def _limit(target: Any, size_bytes: int) -> None:
    """The limits of the process of one input."""
    spare = ROOM_BYTES if target.threads else SPARE_BYTES + size_bytes
    room = _status_bytes("VmSize") + spare
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_CPU, (target.seconds, target.seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _tried(target: Any, request: dict[str, Any]) -> dict[str, Any]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = _status_bytes("VmRSS")
    try:
        target.run(Path(request["path"]), **request["arguments"])
        outcome = {"kind": ACCEPTED, "what": ""}
    except target.errors as error:
        text = str(error)
        outcome = {"kind": REFUSED, "what": f"{type(error).__name__}: {text[:2000]}"}
        if len(text) > target.longest_message:
            outcome = {"kind": "endless", "what": f"a message of {len(text)} characters: {text[:300]}"}
    except BaseException as error:
        outcome = {"kind": "raised", "what": f"{type(error).__name__}: {str(error)[:500]}\n{_last_lines()}"}
    peak = _status_bytes("VmHWM") - before
    if peak > SPARE_BYTES + request["bytes"] and outcome["kind"] in (ACCEPTED, REFUSED):
        outcome = {"kind": "large", "what": f"{peak / 1e6:.0f} MB for {request['bytes']} bytes ({outcome['what']})"}
    return {**outcome, "peak_bytes": peak}


def _last_lines() -> str:
    return "".join(traceback.format_exc(limit=-6))[-3000:]


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    """Answer requests until there are no more."""
    from tests.fuzz.targets import TARGETS

    target = TARGETS[sys.argv[1]]
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    target.warm()
    for line in sys.stdin:
        answers.write(json.dumps(attempt(target, json.loads(line))).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
