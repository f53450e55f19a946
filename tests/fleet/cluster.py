"""A fleet on this machine: a hub and members as processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from autoopt.fleet.address import Certificates, Place, place_of
from autoopt.fleet.fleet import Fleet

PATIENCE_S = 60.0


class Cluster:
    """Processes by name; what they print is in files of their names."""

    def __init__(self, folder: Path, certs: Path) -> None:
        self.folder = folder
        self.certs = certs
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.hub: Place = place_of(f"tls://127.0.0.1:{probe.getsockname()[1]}", "HUB")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for name in self.processes:
            self.signal(name, signal.SIGKILL)
            self.processes[name].wait()

    def start_hub(self, *options: str) -> None:
        """Start the hub, also again at the same address."""
        certs = str(self.certs / "scheduler")
        self._start("hub", "autoopt", "fleet", "serve", "--certs", certs, "--listen", str(self.hub), *options)

    def start_member(self, name: str, role: str = "target") -> None:
        """Start a member whose work is `tests.fleet.sleeper`."""
        arguments = (str(self.hub), str(self.certs / role), role, name, str(self.folder))
        self._start(name, "tests.fleet.member", *arguments)

    def start_builder(self, name: str, home: Path) -> None:
        """Start a builder that makes what it is asked for."""
        arguments = ("builder", "serve", str(self.hub), "--certs", str(self.certs / "builder"), "--name", name)
        self._start(name, "autoopt", *arguments, "--home", str(home))

    def start_target(self, name: str, home: Path) -> None:
        """Start a target that measures."""
        arguments = ("target", "serve", str(self.hub), "--certs", str(self.certs / "target"), "--name", name)
        self._start(name, "autoopt", *arguments, "--home", str(home))

    def _start(self, name: str, module: str, *arguments: str) -> None:
        with (self.folder / name).open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments], stdout=log, stderr=log, start_new_session=True
            )

    def wait_for(self, name: str, said: str = "tls://") -> None:
        """Until a process said something; its end before that is an error."""
        until = time.monotonic() + PATIENCE_S
        while said not in self.said(name):
            assert self.processes[name].poll() is None, self.said(name)
            assert time.monotonic() < until, self.said(name)
            time.sleep(0.05)

    def said(self, name: str) -> str:
        """What a process printed so far."""
        return (self.folder / name).read_text()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.processes[name].pid, number)

    def fleet(self, study: str = "a study") -> Fleet:
        """A search's connection."""
        return Fleet(self.hub, Certificates.read(self.certs / "client"), study)
