"""A child process that does heavy or dangerous work, and cannot hurt or outlive its parent.

`Child` is the parent's side: it starts `python -m MODULE`, sends one JSON object a line, waits
asleep for the answer, and turns every way to die into a `TrialError`. `serve` is the child's side:
`MODULE` calls `serve(handler)` in its main block. The protocol has pipes of its own, so whatever a
library prints goes to the log.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from autoopt.core import memory
from autoopt.core.tables import added_lines
from autoopt.errors import TRIAL_ERRORS, Crash, OutOfMemory, Timeout, TrialError

ENVIRONMENT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
"""The variables a child may inherit: the rest could change what is measured."""

QUIET = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONHASHSEED": "0",
    "NNCF_CI": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "CI": "true",  # the only word that OpenVINO's converter takes for a no
}
"""Set in every child. Telemetry stays off: hospitals run this."""

LOG_TAIL_BYTES = 8000
MEMORY_WORDS = (
    "MemoryError",
    "bad_alloc",
    "DefaultCPUAllocator: can't allocate",
    "not enough memory",
    "Cannot allocate memory",
)
"""How libraries say that memory ran out; any of them in an error makes it an `OutOfMemory`."""

_PR_SET_PDEATHSIG = 1
_LOOK_AGAIN_S = 1.0
"""How often a waiting parent looks after its child: at what it holds, and whether it died while a grandchild holds the
reply pipe open. A turn of a measurement is usually over before the first look."""

Handler = Callable[[dict[str, Any]], Mapping[str, Any]]


class Child:
    """A child process that answers one request at a time.

    `module` is run with `python -m` and imports from where its parent would; `environment` adds
    variables to the allow-listed ones. It is started by the first call and again after it died.
    Use it as a context manager: no child is left. It dies with the thread that started it.
    """

    def __init__(self, module: str, *, environment: Mapping[str, str] | None = None) -> None:
        self._module = module
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._replies = -1
        self._log: Any = None
        self._buffer = b""
        self._busy = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def call(
        self, request: Mapping[str, Any], *, stage: str, timeout_s: float, memory_bytes: int | None = None
    ) -> dict[str, Any]:
        """Send `request`, wait for the answer, at most `timeout_s`, while child and grandchildren hold `memory_bytes`.

        Raises the `TrialError` that the handler raised or that fits the child's death; after a
        death, a passed limit or an interrupt the next call starts a fresh child.
        """
        self.send(request, stage=stage)
        return self.receive(stage=stage, timeout_s=timeout_s, memory_bytes=memory_bytes)

    def send(self, request: Mapping[str, Any], *, stage: str, continues: bool = False) -> None:
        """The first half of `call`: the child works while the parent does something else, until `receive`.

        A child that died between two calls is replaced, which is not the fault of this one; but where the request
        `continues` earlier ones a new child could not know them, and the death is raised.
        """
        if self._process is not None and self._process.poll() is not None:
            died = self._died(stage)
            self._kill_and_close()
            if continues:
                raise died
        if self._process is None:
            self._start()
        process = self._process
        assert process is not None and process.stdin is not None
        self._busy = True
        os.ftruncate(self._log.fileno(), 0)  # a failure shows, and is judged by, its own log only
        with self._killed_by_errors():
            try:
                process.stdin.write(json.dumps(dict(request)).encode() + b"\n")
                process.stdin.flush()
            except BrokenPipeError:
                raise self._died(stage) from None

    def receive(self, *, stage: str, timeout_s: float, memory_bytes: int | None = None) -> dict[str, Any]:
        """The second half of `call`: the answer to what was sent."""
        with self._killed_by_errors():
            reply: dict[str, Any] = json.loads(self._read_line(stage, timeout_s, memory_bytes))
        self._busy = False
        if "error" in reply:
            error = reply["error"]
            kind = TRIAL_ERRORS.get(error["cause"], Crash)
            raise kind(error["message"], stage=error["stage"] or stage, log_tail=error["log_tail"] or self._log_tail())
        return reply

    @contextlib.contextmanager
    def _killed_by_errors(self) -> Iterator[None]:
        """End the child on any error, also Ctrl-C: an answer that nobody waits for must not meet the next request."""
        try:
            yield
        except BaseException:
            self._kill_and_close()
            raise

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        return None if self._process is None else self._process.pid

    def close(self, *, now: bool = False) -> None:
        """End the child, gently if it listens and not `now`, and release its pipes and log."""
        process, self._process = self._process, None
        if process is None:
            return
        if now or self._busy:  # nobody waits for what it is doing
            self._kill(process)
        self._busy = False
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._kill(process)
        os.close(self._replies)
        self._log.close()
        self._buffer = b""

    def _start(self) -> None:
        log = tempfile.TemporaryFile(prefix="autoopt-")  # noqa: SIM115 - closed by close()
        # Both sides share one file offset: without O_APPEND, reading here would move where the child writes.
        fcntl.fcntl(log, fcntl.F_SETFL, fcntl.fcntl(log, fcntl.F_GETFL) | os.O_APPEND)
        read_end, write_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                # -P: the current folder is searched only if this process searches it, see _child_environment
                [sys.executable, "-P", "-m", self._module, str(write_end), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(write_end,),
                env=self._child_environment(),
                start_new_session=True,
            )
        except BaseException:
            os.close(read_end)
            log.close()
            raise
        finally:
            os.close(write_end)
        self._replies, self._log, self._buffer = read_end, log, b""

    def _child_environment(self) -> dict[str, str]:
        environment = {key: os.environ[key] for key in ENVIRONMENT if key in os.environ}
        package_root = str(Path(__file__).resolve().parents[2])
        paths = [str(Path(path).absolute()) for path in sys.path] + [package_root]
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
        return {**environment, **QUIET, **added_lines(), **self._environment}

    def _read_line(self, stage: str, timeout_s: float, memory_bytes: int | None) -> bytes:
        assert self._process is not None
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                left = deadline - time.monotonic()
                ended = self._process.poll() is not None
                if selector.select(0.0 if ended else min(max(left, 0.0), _LOOK_AGAIN_S)):
                    chunk = os.read(self._replies, 65536)
                    if not chunk:
                        raise self._died(stage)
                    self._buffer += chunk
                elif ended:
                    raise self._died(stage)
                elif left <= 0:
                    limit = f"{stage} took longer than its limit of {timeout_s:g} s"
                    raise Timeout(limit, stage=stage, log_tail=self._log_tail())
                elif memory_bytes is not None:
                    self._check_memory(stage, memory_bytes)
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def _check_memory(self, stage: str, limit_bytes: int) -> None:
        assert self._process is not None
        held = memory.held_bytes(self._process.pid)
        if held > limit_bytes:
            message = f"{stage} held {held / 1e6:.0f} MB of memory, more than its limit of {limit_bytes / 1e6:.0f} MB"
            raise OutOfMemory(message, stage=stage, log_tail=self._log_tail())

    def _died(self, stage: str) -> TrialError:
        assert self._process is not None
        tail = self._log_tail()
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return Crash(f"{stage} closed its reply pipe without an answer", stage=stage, log_tail=tail)
        if code == -signal.SIGKILL:
            return OutOfMemory(
                f"{stage} was killed, most likely by the kernel for want of memory", stage=stage, log_tail=tail
            )
        if any(word in tail for word in MEMORY_WORDS):
            return OutOfMemory(f"{stage} ran out of memory", stage=stage, log_tail=tail)
        how = f"signal {_signal_name(-code)}" if code < 0 else f"exit code {code}"
        return Crash(f"{stage} died with {how}", stage=stage, log_tail=tail)

    def _kill_and_close(self) -> None:
        if self._process is not None:
            self._kill(self._process)
        self.close()

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS refuses where only a zombie is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _log_tail(self) -> str:
        descriptor = self._log.fileno()
        start = max(0, os.fstat(descriptor).st_size - LOG_TAIL_BYTES)
        return os.pread(descriptor, LOG_TAIL_BYTES, start).decode(errors="replace")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return str(number)


def serve(handler: Handler) -> None:
    """Answer requests until the parent closes the pipe. Call it from the main block of a module.

    A `TrialError` of the handler crosses the border as itself, MemoryError as out-of-memory, any
    other exception as a crash with its traceback.
    """
    replies, parent = int(sys.argv[1]), int(sys.argv[2])
    _die_with_parent(parent)
    _die_before_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would put patient images on the disk
    with os.fdopen(replies, "wb", buffering=0) as pipe:
        for line in sys.stdin.buffer:
            try:
                reply = json.dumps(dict(handler(json.loads(line))))
            except TrialError as error:
                reply = _error(error.cause, error.message, error.stage, error.log_tail or traceback.format_exc())
            except MemoryError:
                reply = _error(OutOfMemory.cause, "ran out of memory", "", traceback.format_exc())
            except Exception as error:  # the border: the parent turns it into a failed trial with this traceback
                message = f"{type(error).__name__}: {error}"
                cause = OutOfMemory.cause if any(word in message for word in MEMORY_WORDS) else Crash.cause
                reply = _error(cause, message.splitlines()[0][:500], "", traceback.format_exc())
            _write_all(pipe.fileno(), reply.encode() + b"\n")


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _error(cause: str, message: str, stage: str, log_tail: str) -> str:
    error = {"cause": cause, "message": message, "stage": stage, "log_tail": log_tail[-LOG_TAIL_BYTES:]}
    return json.dumps({"error": error})


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it died before the lines above
        sys.exit(1)


def _die_before_parent() -> None:
    """Let the kernel choose this process when memory runs out between two looks of the parent."""
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("1000")


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_AGAIN_S)
    os._exit(1)
