"""A lease in the study storage that says "this study is being searched": no two machines write one study.

On one machine a lock of the kernel decides; this covers a storage that several machines share.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from autoopt.errors import BusyError, StorageError

BEAT_S = 20.0
"""How often the lease is renewed."""
DEAD_S = 90.0
"""A lease that was not renewed for so long is nobody's any more."""


class Lease:
    """The lease of the study called `name`, held while the block runs, renewed by a thread.

    `read` gives what the storage holds, None where it was never held, `write` replaces it, every `beat_s` seconds.
    Raises BusyError when a search on another machine is alive.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], Mapping[str, Any] | None],
        write: Callable[[Mapping[str, Any]], None],
        *,
        beat_s: float = BEAT_S,
    ) -> None:
        self._name = name
        self._beat_s = beat_s
        self._read, self._write = read, write
        self._me = {"machine": socket.gethostname(), "pid": os.getpid()}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> None:
        held = self._read()
        if held is not None and held["machine"] != self._me["machine"]:
            age = time.time() - held["at"]
            if age < DEAD_S:
                raise BusyError(
                    f"study {self._name} is being searched by process {held['pid']} on {held['machine']} "
                    f"(last sign of life {age:.0f} s ago): wait for it, or use another --study"
                )
        self._write({**self._me, "at": time.time()})
        self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()
        self._write({**self._me, "at": 0.0, "ended": time.time()})

    def _renew(self) -> None:
        while not self._stop.wait(self._beat_s):
            try:
                self._write({**self._me, "at": time.time()})
            except StorageError:
                return  # the storage went away: the next trial says so in the main thread


def last_sign_of_life(lease: Mapping[str, Any] | None) -> float:
    """When a search last held the lease, in seconds since 1970; 0 where it does not say."""
    return 0.0 if lease is None else max(float(lease["at"]), float(lease.get("ended", 0.0)))
