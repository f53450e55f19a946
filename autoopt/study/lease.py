"""A lease in the study storage that says "this study is being searched": no two searches write one study.

Beside it a lock decides where there is one (a file beside SQLite, an advisory lock of PostgreSQL); the lease says who
searches, and is asked before every write, so that a search which slept while another took over writes no more.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from autoopt.errors import BusyError, StorageError

BEAT_S = 20.0
"""How often the lease is renewed."""
DEAD_S = 90.0
"""A lease that was not renewed for so long is nobody's any more."""


class Lease:
    """The lease of the study called `name`, held while the block runs, renewed by a thread.

    `read` gives what the storage holds, None where it was never held, `write` replaces it, every `beat_s` seconds.
    Raises BusyError when another search is alive: one that was seen in the last `DEAD_S` seconds, unless its process
    was on this very system and is gone, or a lock that reaches all machines has `decided` that it is.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], Mapping[str, Any] | None],
        write: Callable[[Mapping[str, Any]], None],
        *,
        beat_s: float = BEAT_S,
        decided: bool = False,
    ) -> None:
        self._name = name
        self._decided = decided
        self._beat_s = beat_s
        self._read, self._write = read, write
        self._me = {
            "machine": socket.gethostname(),
            "pid": os.getpid(),
            "system": _system(),
            "token": secrets.token_hex(8),
        }
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Self:
        held = self._read()
        if held is not None and not self._decided and not self._is_gone(held):
            age = time.time() - held["at"]
            if age < DEAD_S:
                raise BusyError(
                    f"study {self._name} is being searched by process {held['pid']} on {held['machine']} "
                    f"(last sign of life {age:.0f} s ago): wait for it, or use another --study"
                )
        self._write({**self._me, "at": time.time()})
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()
        # Where something ended the block, that is told, not that the storage is away, which may be what it was.
        with contextlib.suppress(*([] if kind is None else [StorageError])):
            if self._is_ours(self._read()):
                self._write({**self._me, "at": 0.0, "ended": time.time()})

    def check(self) -> None:
        """Raise BusyError when another search has taken the study over; ask before every write."""
        held = self._read()
        if not self._is_ours(held):
            who = "somebody" if held is None else f"process {held.get('pid')} on {held.get('machine')}"
            raise BusyError(
                f"study {self._name} was taken over by {who} while this search gave no sign of life for {DEAD_S:g} s "
                "(was this machine asleep?): this search stops, its trials until then are stored. Run the same command "
                "again when the other one has ended"
            )

    def _is_ours(self, held: Mapping[str, Any] | None) -> bool:
        return held is not None and held.get("token") == self._me["token"]

    def _is_gone(self, held: Mapping[str, Any]) -> bool:
        """Whether the process that held it was one of this system that does not run any more."""
        if held["machine"] != self._me["machine"]:
            return False
        if "system" not in held:  # of an earlier version, which told machines by their names
            return True
        return held["system"] == self._me["system"] and not _runs(held["pid"])

    def _renew(self) -> None:
        while not self._stop.wait(self._beat_s):
            # A storage that is away for a moment is asked again; one that stays away is told of by the main thread.
            with contextlib.suppress(StorageError):
                if not self._is_ours(self._read()):
                    return  # taken over: the next write says so in the main thread
                self._write({**self._me, "at": time.time()})


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # asks only
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def _system() -> str:
    """What tells apart two machines, two containers and two boots of one name, where the kernel says it."""
    with contextlib.suppress(OSError):  # not Linux
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    return ""


def last_sign_of_life(lease: Mapping[str, Any] | None) -> float:
    """When a search last held the lease, in seconds since 1970; 0 where it does not say."""
    return 0.0 if lease is None else max(float(lease["at"]), float(lease.get("ended", 0.0)))
