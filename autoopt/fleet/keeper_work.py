"""What a target does for a search: a keeper (measure/remote/keeper.py) at the other end of a pipe, as over ssh.

A request brings a whole message of `measure.remote.messages`, and so does its answer.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from autoopt.core.scratch import scratch_folder
from autoopt.errors import Crash, UsageError
from autoopt.measure.remote import messages

MESSAGE = "message"
"""Asks for the answer of the keeper to the message that comes with it."""
HOME = "AUTOOPT_TARGET_HOME"
"""The environment variable that tells the keeper where to keep what it is sent."""
STAGE = "measure"
ENDS_S = 3600.0
"""How long a keeper may take to end the run that it has, once nobody asks it for more."""


class KeeperWork:
    """One keeper per session, the program `module`; `home` is where it keeps what it was sent."""

    def __init__(self, home: Path, module: str = "autoopt.measure.remote.keeper") -> None:
        self._home = home
        self._module = module
        self._scratch = scratch_folder()
        self._folder = self._scratch.__enter__()
        self._said: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def answer(self, request: Mapping[str, Any], data: bytes) -> tuple[Mapping[str, Any], bytes]:
        """See `agent.Work`. Raises Crash where the keeper ended, with the last that it said."""
        if request["do"] != MESSAGE:
            raise UsageError(f"a target must be asked for what it can do, got {request['do']!r}")
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        messages.empty(self._folder)
        try:
            with suppress(BrokenPipeError):  # what it said before it ended, such as that its disk is full
                process.stdin.write(data)
                process.stdin.flush()
            reply, parts = messages.receive(process.stdout, self._folder)
        except (messages.Closed, messages.Malformed) as error:
            why = self._why() or str(error)
            self.close()
            raise Crash(f"the keeper ended: {why}", stage=STAGE, by_signal=True) from error
        answer = io.BytesIO()
        messages.send(answer, reply, parts)
        return {}, answer.getvalue()

    def _start(self) -> subprocess.Popen[bytes]:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, HOME: str(self._home)},
            start_new_session=True,  # Ctrl-C is for the agent, which closes the pipe
        )
        return self._process

    def _why(self) -> str:
        if self._said is None:
            return ""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def stop(self) -> None:
        """See `agent.Work`."""
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def close(self) -> None:
        """See `agent.Work`: the keeper ends when its pipe closes, after the run that it has."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None and process.stdout is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(ENDS_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
        if self._said is not None:
            self._said.close()
            self._said = None
