"""A child process cannot hurt or outlive its parent: every death has a name, and the next call goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from autoopt.core import memory, process
from autoopt.core.process import Child
from autoopt.errors import Crash, Noisy, OutOfMemory, Timeout, TrialError, Unsupported

CHILD = """
import ctypes, os, signal, subprocess, sys, time
from autoopt.errors import Noisy, Unsupported
from autoopt.core.process import serve

def handle(job):
    what = job["what"]
    if what == "echo":
        return job
    if what == "pid":
        return {"pid": os.getpid()}
    if what == "environment":
        return {"environment": dict(os.environ)}
    if what == "path":
        return {"path": sys.path}
    if what == "print":
        print("library chatter")
        os.write(1, b'{"not": "a reply"}\\n')
        os.write(2, b"native chatter\\n")
        return {"done": True}
    if what == "signal":
        os.write(2, b"last words\\n")
        os.kill(os.getpid(), job["signal"])
    if what == "exit":
        os._exit(3)
    if what == "hang":
        print("going to sleep", flush=True)
        time.sleep(600)
    if what == "memory":
        raise MemoryError
    if what == "bad_alloc":
        raise RuntimeError("std::bad_alloc")
    if what == "native memory":
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\\n")
        os.abort()
    if what == "unsupported":
        raise Unsupported("no such kernel", stage="inside")
    if what == "noisy":
        raise Noisy("busy")
    if what == "value":
        raise ValueError("wrong value")
    if what == "not json":
        return {"value": object()}
    if what == "orphan":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False,
                         pass_fds=[int(sys.argv[1])])
        os._exit(5)
    if what == "hold":
        held = b"x" * job["bytes"]
        time.sleep(job["seconds"])
        return {"held": len(held)}
    if what == "let hold":
        subprocess.run([sys.executable, "-c", f"held = b'x' * {job['bytes']}; import time; time.sleep(600)"])
    if what == "score":
        return {"score": int(open("/proc/self/oom_score_adj").read())}
    if what == "core":
        import resource
        return {"core": resource.getrlimit(resource.RLIMIT_CORE)}

if __name__ == "__main__":
    serve(handle)
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process holds")


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    (tmp_path / "a_child_module.py").write_text(CHILD)
    monkeypatch.syspath_prepend(tmp_path)
    with Child("a_child_module", environment={"EXTRA": "yes"}) as made:
        yield made


def call(child: Child, what: str, *, timeout_s: float = 30.0, **job: object) -> dict[str, object]:
    return child.call({"what": what, **job}, stage="testing", timeout_s=timeout_s)


def test_answers_in_order(child: Child) -> None:
    """One process answers one request after the other, long ones too."""
    first = call(child, "pid")
    assert call(child, "echo", text="x" * 1_000_000)["text"] == "x" * 1_000_000
    assert call(child, "pid") == first


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGTERM])
def test_a_signal_is_a_crash(child: Child, number: signal.Signals) -> None:
    """A child that dies of a signal is a crash that names the signal and keeps its last words; the next call works."""
    with pytest.raises(Crash, match=f"testing died with signal {number.name}") as caught:
        call(child, "signal", signal=int(number))
    assert caught.value.stage == "testing"
    assert "last words" in caught.value.log_tail
    assert call(child, "echo")["what"] == "echo"


def test_an_exit_is_a_crash(child: Child) -> None:
    """A library that calls exit() is a crash with the exit code."""
    with pytest.raises(Crash, match="exit code 3"):
        call(child, "exit")


def test_a_hang_is_a_timeout(child: Child) -> None:
    """A child that does not answer in time is ended and gone; what it printed is kept."""
    pid = call(child, "pid")["pid"]
    with pytest.raises(Timeout, match=r"testing took longer than its limit of 0\.3 s") as caught:
        call(child, "hang", timeout_s=0.3)
    assert "going to sleep" in caught.value.log_tail
    assert not _alive(pid)


@pytest.mark.parametrize("what", ["memory", "bad_alloc", "native memory"])
def test_running_out_of_memory(child: Child, what: str) -> None:
    """Memory that runs out, in Python or in a library, is out-of-memory."""
    with pytest.raises(OutOfMemory, match=r"memory|bad_alloc"):
        call(child, what)


def test_the_kernels_kill_is_out_of_memory(child: Child) -> None:
    """SIGKILL from outside is what the kernel does when memory runs out."""
    with pytest.raises(OutOfMemory, match="killed"):
        call(child, "signal", signal=int(signal.SIGKILL))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the parent saw its child hold, in bytes; it looks twenty times a second."""
    seen: list[int] = []

    def look(pid: int) -> int:
        seen.append(memory.held_bytes(pid))
        return seen[-1]

    monkeypatch.setattr(process, "_LOOK_AGAIN_S", 0.05)
    monkeypatch.setattr(process, "memory", SimpleNamespace(held_bytes=look))
    return seen


@linux
@pytest.mark.parametrize("job", [{"what": "hold", "seconds": 600}, {"what": "let hold"}])
def test_too_much_memory_is_out_of_memory(child: Child, looks: list[int], job: dict[str, object]) -> None:
    """A child that holds more than its limit, itself or in what it started, is ended; the next call works."""
    pid = call(child, "pid")["pid"]
    with pytest.raises(OutOfMemory, match=r"testing held (\d+) MB of memory, more than its limit of 300 MB") as caught:
        child.call({**job, "bytes": 400_000_000}, stage="testing", timeout_s=60, memory_bytes=300_000_000)
    assert caught.value.stage == "testing"
    assert f"held {looks[-1] / 1e6:.0f} MB" in caught.value.message
    assert not _alive(pid)
    assert call(child, "echo")["what"] == "echo"


@linux
def test_memory_within_the_limit_is_left_alone(child: Child, looks: list[int]) -> None:
    """A child that is looked at and stays below its limit answers as ever,."""
    pid = call(child, "pid")
    reply = child.call(
        {"what": "hold", "bytes": 100_000_000, "seconds": 0.5}, stage="testing", timeout_s=60, memory_bytes=300_000_000
    )
    assert reply == {"held": 100_000_000}
    assert 100_000_000 < max(looks) < 300_000_000
    assert call(child, "pid") == pid


def test_nobody_looks_without_a_limit(child: Child, looks: list[int]) -> None:
    """Memory is looked at only where it is limited."""
    call(child, "hold", bytes=1, seconds=0.2)
    assert looks == []


@linux
def test_the_kernel_takes_the_child_first(child: Child) -> None:
    """When memory runs out before the parent looked, the kernel chooses the child and not its parent."""
    assert call(child, "score") == {"score": 1000}


@pytest.mark.parametrize(
    ("what", "kind", "stage"), [("unsupported", Unsupported, "inside"), ("noisy", Noisy, "testing")]
)
def test_a_trial_error_crosses_as_itself(child: Child, what: str, kind: type[TrialError], stage: str) -> None:
    """A TrialError has its class, message and stage on this side too, and the child lives on."""
    pid = call(child, "pid")
    with pytest.raises(kind, match=r"no such kernel|busy") as caught:
        call(child, what)
    assert type(caught.value) is kind
    assert caught.value.stage == stage
    assert call(child, "pid") == pid


@pytest.mark.parametrize(
    ("what", "match"), [("value", "ValueError: wrong value"), ("not json", "not JSON serializable")]
)
def test_any_other_error_is_a_crash_with_its_traceback(child: Child, what: str, match: str) -> None:
    """An unexpected error, also an answer that cannot be sent, is a crash that keeps the traceback."""
    with pytest.raises(Crash, match=match) as caught:
        call(child, what)
    assert "Traceback" in caught.value.log_tail


def test_prints_do_not_break_the_protocol(child: Child) -> None:
    """Whatever a library writes to stdout or stderr is not taken for an answer."""
    assert call(child, "print") == {"done": True}
    assert call(child, "echo")["what"] == "echo"


def test_an_old_log_does_not_judge_a_new_call(child: Child) -> None:
    """Words about memory that an earlier call left in the log do not make a later crash out-of-memory."""
    with pytest.raises(OutOfMemory):
        call(child, "bad_alloc")
    call(child, "print")
    with pytest.raises(Crash, match="SIGSEGV") as caught:
        call(child, "signal", signal=int(signal.SIGSEGV))
    assert "chatter" not in caught.value.log_tail


def test_death_between_calls_is_not_the_next_calls_fault(child: Child) -> None:
    """A child that died while idle is replaced without an error."""
    pid = call(child, "pid")["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    _wait_until_dead(pid)
    assert call(child, "pid")["pid"] != pid


def test_a_request_that_continues_needs_the_same_child(child: Child) -> None:
    """What builds on earlier requests is not given to another child: the death between them is raised."""
    pid = call(child, "pid")["pid"]
    child.send({"what": "pid"}, stage="testing", continues=True)
    assert child.receive(stage="testing", timeout_s=30)["pid"] == pid
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    _wait_until_dead(pid)
    with pytest.raises(OutOfMemory, match="testing was killed"):
        child.send({"what": "pid"}, stage="testing", continues=True)
    assert call(child, "pid")["pid"] != pid


def test_a_grandchild_that_keeps_the_pipe_does_not_block(child: Child) -> None:
    """The death is noticed although a process that the child started still holds its end of the pipe."""
    with pytest.raises(Crash, match="exit code 5"):
        call(child, "orphan")


def test_an_interrupt_leaves_no_stale_answer(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C in the middle of a call the next call gets its own answer, from a new child."""
    pid = call(child, "pid")["pid"]

    def interrupt(*args: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(child, "_read_line", interrupt)
        with pytest.raises(KeyboardInterrupt):
            call(child, "echo")
    assert call(child, "pid")["pid"] != pid


def test_the_environment_is_allow_listed(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that could change a measurement stay outside, telemetry is off, the extra ones are set."""
    monkeypatch.setenv("OMP_NUM_THREADS", "17")
    monkeypatch.setenv("LD_PRELOAD_NOT", "1")
    environment = call(child, "environment")["environment"]
    assert isinstance(environment, dict)
    assert "OMP_NUM_THREADS" not in environment
    assert "LD_PRELOAD_NOT" not in environment
    assert environment["EXTRA"] == "yes"
    assert environment["CI"] == "true"


def test_the_current_folder_is_not_searched(child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the current folder called like a library is not imported instead of it."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "json.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.chdir(folder)
    path = call(child, "path")["path"]
    assert isinstance(path, list)
    assert str(folder) not in path


def test_no_core_dumps(child: Child) -> None:
    """A crashing child leaves no core dump: it would hold patient images."""
    assert call(child, "core")["core"] == [0, 0]


def test_a_module_that_cannot_be_imported_is_a_crash() -> None:
    """A child whose module does not exist is a crash that says so."""
    with Child("autoopt.no_such_module") as child, pytest.raises(Crash, match="exit code 1") as caught:
        child.call({}, stage="testing", timeout_s=30)
    assert "no_such_module" in caught.value.log_tail


def test_closing_ends_the_child(child: Child) -> None:
    """After `close` no process is left; closing again is harmless."""
    pid = call(child, "pid")["pid"]
    child.close()
    child.close()
    assert not _alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells a child of its parent's death on Linux only")
def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    """kill -9 of the parent ends a child in the middle of its work."""
    (tmp_path / "a_child_module.py").write_text(CHILD)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": _path(tmp_path)},
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert _alive(pid)
    parent.kill()
    parent.communicate()
    _wait_until_dead(pid)


PARENT = """
from autoopt.core.process import Child
child = Child("a_child_module")
print(child.call({"what": "pid"}, stage="testing", timeout_s=30)["pid"], flush=True)
child.call({"what": "hang"}, stage="testing", timeout_s=600)
"""


def _path(folder: Path) -> str:
    return os.pathsep.join([str(folder), str(Path(__file__).resolve().parents[2])])


def _alive(pid: object) -> bool:
    assert isinstance(pid, int)
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _wait_until_dead(pid: int) -> None:
    deadline = time.monotonic() + 20
    while _alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still alive"
        time.sleep(0.02)
