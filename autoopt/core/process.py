"""A child process that does heavy or dangerous work, and cannot hurt or outlive its parent.

`Child` is the parent's side: it starts `python -m MODULE`, sends requests, sleeps until an answer comes, and turns
every way to die into a `TrialError`. `serve` is the child's side: the main block of MODULE calls it with a table of
handlers.
One JSON object a line goes each way, through pipes of their own: whatever a library prints goes to the log.

    request   {"do": NAME, ...}        NAME is in the child's table
    reply     {"answer": {...}}        or {"error": ...}, see `errors.to_json`
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
from typing import Any, Protocol, Self

from autoopt import errors
from autoopt.core import memory
from autoopt.core.host_problem import host_problem
from autoopt.core.tables import added_lines
from autoopt.errors import Crash, OutOfMemory, StorageError, Timeout, TrialError, UsageError

ENVIRONMENT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
"""The variables that a child may inherit: the others could change what is measured."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ORT_INTRA_OP_NUM_THREADS")
"""The variables by which libraries are told how many threads to use."""

QUIET = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONHASHSEED": "0",
    "NNCF_CI": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "CI": "true",  # the only word that OpenVINO's converter takes for a no
}
"""Set in every child. Telemetry stays off: hospitals run this."""

USUAL_TIMEOUT_S = 300.0
"""How long a child may work on one request, unless its caller knows better."""
LOG_TAIL_BYTES = 8000
MEMORY_WORDS = (
    "MemoryError",
    "bad_alloc",
    "DefaultCPUAllocator: can't allocate",
    "not enough memory",
    "Cannot allocate memory",
)
"""How libraries say that memory ran out; any of them in an error makes it an `OutOfMemory`."""
LOOK_AGAIN_S = 1.0
"""How often a waiting parent looks at the memory of its child, and whether the child died while a grandchild keeps the
reply pipe open. A turn of a measurement is usually over before the first look."""

_PR_SET_PDEATHSIG = 1

Handler = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Does one request, given without its "do", and returns the answer: both are plain JSON."""


class Requests(Protocol):
    """What answers requests like a `Child`: one of this machine, or one elsewhere."""

    def send(self, do: str, request: Mapping[str, Any] | None = None, *, stage: str, continues: bool = False) -> None:
        """See `Child.send`."""
        ...

    def receive(self, *, stage: str, timeout_s: float = ..., memory_bytes: int | None = None) -> dict[str, Any]:
        """See `Child.receive`."""
        ...

    def close(self, *, now: bool = False) -> None:
        """See `Child.close`."""
        ...


def thread_limits(threads: int) -> dict[str, str]:
    """The environment that keeps the libraries of a process to so many threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


class Child:
    """A child process that answers one request at a time; a context manager that leaves no child behind.

    `module` is run with `python -m` and finds what its parent can import; `environment` is added to the variables that
    it inherits. The first request starts it, and one after its death starts another. It dies with the thread that
    started it. `held_bytes` says how much memory the process with an id and its descendants hold.
    """

    def __init__(
        self,
        module: str,
        *,
        environment: Mapping[str, str] | None = None,
        look_again_s: float = LOOK_AGAIN_S,
        held_bytes: Callable[[int], int] = memory.held_bytes,
    ) -> None:
        self._module = module
        self._environment = dict(environment or {})
        self._look_again_s = look_again_s
        self._held_bytes = held_bytes
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
        self,
        do: str,
        request: Mapping[str, Any] | None = None,
        *,
        stage: str,
        timeout_s: float = USUAL_TIMEOUT_S,
        memory_bytes: int | None = None,
    ) -> dict[str, Any]:
        """Send a request and wait for its answer: see `send` and `receive`, whose errors it raises."""
        self.send(do, request, stage=stage)
        return self.receive(stage=stage, timeout_s=timeout_s, memory_bytes=memory_bytes)

    def send(self, do: str, request: Mapping[str, Any] | None = None, *, stage: str, continues: bool = False) -> None:
        """Let the child do what its table calls `do`, while the parent goes on until `receive`.

        `stage` names the work in errors. A child that died since its last answer is replaced. Where the request
        `continues` earlier ones, which another child would not know, the TrialError that fits the death is raised.
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
                process.stdin.write(json.dumps({"do": do, **(request or {})}).encode() + b"\n")
                process.stdin.flush()
            except BrokenPipeError:
                raise self._died(stage) from None

    def receive(
        self, *, stage: str, timeout_s: float = USUAL_TIMEOUT_S, memory_bytes: int | None = None
    ) -> dict[str, Any]:
        """The answer to the request that was sent.

        Raises the UsageError or TrialError that the handler raised, or the TrialError that fits the child's death.
        After `timeout_s`, or when the child and its descendants hold more than `memory_bytes`, the child is ended and
        that is the error. After any death the next request starts another child.
        """
        with self._killed_by_errors():
            line = self._read_line(stage, timeout_s, memory_bytes)
            answer, error = _parsed(line, stage)
        self._busy = False
        if isinstance(error, TrialError):
            error.stage, error.log_tail = error.stage or stage, error.log_tail or self._log_tail()
        if error is not None:
            raise error
        return answer

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
                if selector.select(0.0 if ended else min(max(left, 0.0), self._look_again_s)):
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
        held = self._held_bytes(self._process.pid)
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
            message = f"{stage} was killed, most likely by the kernel for want of memory"
            return OutOfMemory(message, stage=stage, log_tail=tail, by_signal=True)
        if any(word in tail for word in MEMORY_WORDS):
            return OutOfMemory(f"{stage} ran out of memory", stage=stage, log_tail=tail)
        how = f"signal {_signal_name(-code)}" if code < 0 else f"exit code {code}"
        return Crash(f"{stage} died with {how}", stage=stage, log_tail=tail, by_signal=code < 0)

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


def serve(handlers: Mapping[str, Handler], *, before_answer: Callable[[], object] = lambda: None) -> None:
    """Do requests by the table `handlers` until the parent closes the pipe. Call it from the main block of a module.

    A UsageError or TrialError of a handler is raised again in the parent, MemoryError as OutOfMemory, any other
    exception as a Crash with its traceback. `before_answer` is called after each request, before the parent goes on.
    """
    replies, parent = int(sys.argv[1]), int(sys.argv[2])
    _die_with_parent(parent)
    _die_before_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would put patient images on the disk
    with os.fdopen(replies, "wb", buffering=0) as pipe:
        for line in sys.stdin.buffer:
            reply = _reply(handlers, line)
            before_answer()
            _write_all(pipe.fileno(), reply.encode() + b"\n")


def _reply(handlers: Mapping[str, Handler], line: bytes) -> str:
    try:
        request = json.loads(line)
        name = request.pop("do")
        if name not in handlers:
            raise ValueError(f"a child process does {', '.join(handlers)}, it was asked to do {name!r}")
        return json.dumps({"answer": dict(handlers[name](request))})
    except (TrialError, UsageError) as error:
        return _error(error)
    except MemoryError:
        return _error(OutOfMemory("ran out of memory"))
    except Exception as error:  # the border: the parent turns it into a failed trial with this traceback
        problem = host_problem(error)
        if problem is not None:
            return _error(StorageError(problem))
        first = next((line for line in map(str.strip, str(error).splitlines()) if line), "")
        message = f"{type(error).__name__}: {first}"[:500]
        told = f"{type(error).__name__}: {error}"
        return _error(OutOfMemory(message) if any(word in told for word in MEMORY_WORDS) else Crash(message))


def _error(error: TrialError | UsageError) -> str:
    """What is written of an error, with the traceback of what is being handled where it has no log of its own."""
    if isinstance(error, TrialError):
        error.log_tail = (error.log_tail or traceback.format_exc())[-LOG_TAIL_BYTES:]
    return json.dumps({"error": errors.to_json(error)})


def _parsed(line: bytes, stage: str) -> tuple[dict[str, Any], TrialError | UsageError | None]:
    """The answer and the error in a reply: one of them. Raises Crash for a line that is no reply."""
    try:
        reply = json.loads(line)
        return dict(reply.get("answer", {})), errors.from_json(reply["error"]) if "error" in reply else None
    except (ValueError, TypeError, AttributeError) as error:
        message = f"{stage} must reply with an answer or an error, it wrote {line[:100]!r}"
        raise Crash(message, stage=stage) from error


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


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
        time.sleep(LOOK_AGAIN_S)
    os._exit(1)
