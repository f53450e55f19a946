"""A child process cannot hurt or outlive its parent: every death has a name, and the next call goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoopt.core import memory
from autoopt.core.process import Child
from autoopt.errors import (
    BadData,
    Crash,
    Numeric,
    OutOfMemory,
    StorageError,
    Timeout,
    TrialError,
    UsageError,
    WeightsError,
)

CHILD = """
import os, resource, subprocess, sys, time
from autoopt.core.process import serve
from autoopt.errors import BadData, Numeric, UsageError, WeightsError

class Blurred(Numeric):
    "A kind of Numeric that only this child knows."

def chatter(request):
    print("library chatter")
    os.write(1, b'{"not": "a reply"}\\n')
    os.write(2, b"native chatter\\n")
    return {"done": True}

def end(request):
    os.write(2, b"last words\\n")
    os.kill(os.getpid(), request["signal"])

def hang(request):
    print("going to sleep", flush=True)
    time.sleep(600)

def native_memory(request):
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\\n")
    os.abort()

def orphan(request):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False,
                     pass_fds=[int(sys.argv[1])])
    os._exit(5)

def hold(request):
    held = b"x" * request["bytes"]
    time.sleep(request["seconds"])
    return {"held": len(held)}

def let_hold(request):
    code = f"held = b'x' * {request['bytes']}; import time; time.sleep(600)"
    subprocess.run([sys.executable, "-c", code])

def fail(request):
    raise {
        "memory": MemoryError(),
        "bad_alloc": RuntimeError("std::bad_alloc"),
        "numeric": Numeric("no such number", stage="inside"),
        "own": Blurred("no such number", stage="inside"),
        "data": BadData("no such number"),
        "weights": WeightsError("no such weights", "nor such others"),
        "usage": UsageError("no such weights", "nor such others"),
        "value": ValueError("\\nwrong value\\nand more"),
        "disk": OSError(28, "No space left on device", "/x/y"),
    }[request["of"]]

def reply(request):
    os.write(int(sys.argv[1]), request["line"].encode() + b"\\n")
    time.sleep(600)

if __name__ == "__main__":
    serve(
        {
            "echo": lambda request: request,
            "pid": lambda request: {"pid": os.getpid()},
            "environment": lambda request: {"environment": dict(os.environ)},
            "path": lambda request: {"path": sys.path},
            "print": chatter,
            "signal": end,
            "exit": lambda request: os._exit(3),
            "hang": hang,
            "native memory": native_memory,
            "fail": fail,
            "not json": lambda request: {"value": object()},
            "orphan": orphan,
            "hold": hold,
            "let hold": let_hold,
            "score": lambda request: {"score": int(open("/proc/self/oom_score_adj").read())},
            "core": lambda request: {"core": resource.getrlimit(resource.RLIMIT_CORE)},
            "reply": reply,
        },
        before_answer=lambda: os.write(2, b"tidied up\\n"),
    )
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process holds")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "a_child_module.py").write_text(CHILD)
    monkeypatch.syspath_prepend(tmp_path)
    return "a_child_module"


@pytest.fixture
def child(module: str) -> Iterator[Child]:
    with Child(module, environment={"EXTRA": "yes"}) as made:
        yield made


class Looks(list[int]):
    """What the parent saw its child hold, in bytes."""

    def __call__(self, pid: int) -> int:
        self.append(memory.held_bytes(pid))
        return self[-1]


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
def watched(module: str, looks: Looks) -> Iterator[Child]:
    """A child whose memory is looked at twenty times a second."""
    with Child(module, look_again_s=0.05, held_bytes=looks) as made:
        yield made


def call(child: Child, do: str, *, timeout_s: float = 30.0, **request: object) -> dict[str, object]:
    return child.call(do, request, stage="testing", timeout_s=timeout_s)


def test_answers_in_order(child: Child) -> None:
    """One process answers one request after the other, long ones too."""
    first = call(child, "pid")
    assert call(child, "echo", text="x" * 1_000_000)["text"] == "x" * 1_000_000
    assert call(child, "pid") == first


def test_what_the_machine_lacks_is_no_crash_of_the_child(child: Child) -> None:
    """A disk that is full for a child concerns whoever asked it, and all others: it is no failed trial."""
    with pytest.raises(StorageError, match="no room left on the disk of /x/y"):
        call(child, "fail", of="disk")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGTERM])
def test_a_signal_is_a_crash(child: Child, number: signal.Signals) -> None:
    """A child that dies of a signal is a crash that names the signal and keeps its last words; the next call works."""
    with pytest.raises(Crash, match=f"testing died with signal {number.name}") as caught:
        call(child, "signal", signal=int(number))
    assert caught.value.stage == "testing"
    assert "last words" in caught.value.log_tail and caught.value.by_signal
    assert call(child, "echo", text="there") == {"text": "there"}


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


@pytest.mark.parametrize(("do", "of"), [("fail", "memory"), ("fail", "bad_alloc"), ("native memory", "")])
def test_running_out_of_memory(child: Child, do: str, of: str) -> None:
    """Memory that runs out, in Python or in a library, is out-of-memory."""
    with pytest.raises(OutOfMemory, match=r"memory|bad_alloc"):
        call(child, do, of=of)


def test_the_kernels_kill_is_out_of_memory(child: Child) -> None:
    """SIGKILL from outside is what the kernel does when memory runs out."""
    with pytest.raises(OutOfMemory, match="killed"):
        call(child, "signal", signal=int(signal.SIGKILL))


@linux
@pytest.mark.parametrize(("do", "request_"), [("hold", {"seconds": 600}), ("let hold", {})])
def test_too_much_memory_is_out_of_memory(watched: Child, looks: Looks, do: str, request_: dict[str, object]) -> None:
    """A child that holds more than its limit, itself or in what it started, is ended; the next call works."""
    pid = call(watched, "pid")["pid"]
    request_ = {**request_, "bytes": 400_000_000}
    with pytest.raises(OutOfMemory, match=r"testing held (\d+) MB of memory, more than its limit of 300 MB") as caught:
        watched.call(do, request_, stage="testing", timeout_s=60, memory_bytes=300_000_000)
    assert caught.value.stage == "testing"
    assert f"held {looks[-1] / 1e6:.0f} MB" in caught.value.message
    assert not _alive(pid)
    assert call(watched, "echo", text="there") == {"text": "there"}


@linux
def test_memory_within_the_limit_is_left_alone(watched: Child, looks: Looks) -> None:
    """A child that is looked at and stays below its limit answers as ever."""
    pid = call(watched, "pid")
    request = {"bytes": 100_000_000, "seconds": 0.5}
    reply = watched.call("hold", request, stage="testing", timeout_s=60, memory_bytes=300_000_000)
    assert reply == {"held": 100_000_000}
    assert 100_000_000 < max(looks) < 300_000_000
    assert call(watched, "pid") == pid


def test_nobody_looks_without_a_limit(watched: Child, looks: Looks) -> None:
    """Memory is looked at only where it is limited."""
    call(watched, "hold", bytes=1, seconds=0.2)
    assert looks == []


@linux
def test_the_kernel_takes_the_child_first(child: Child) -> None:
    """When memory runs out before the parent looked, the kernel chooses the child and not its parent."""
    assert call(child, "score") == {"score": 1000}


@pytest.mark.parametrize(
    ("of", "kind", "stage"), [("numeric", Numeric, "inside"), ("own", Numeric, "inside"), ("data", BadData, "testing")]
)
def test_a_trial_error_crosses_as_itself(child: Child, of: str, kind: type[TrialError], stage: str) -> None:
    """A TrialError has its class, message and stage on this side too, and the child lives on."""
    pid = call(child, "pid")
    with pytest.raises(kind, match="no such number") as caught:
        call(child, "fail", of=of)
    assert type(caught.value) is kind
    assert caught.value.stage == stage
    assert "Traceback" in caught.value.log_tail
    assert call(child, "pid") == pid


@pytest.mark.parametrize(("of", "kind"), [("weights", WeightsError), ("usage", UsageError)])
def test_a_usage_error_crosses_as_itself(child: Child, of: str, kind: type[UsageError]) -> None:
    """A UsageError has its class and all its problems on this side too, and the child lives on."""
    pid = call(child, "pid")
    with pytest.raises(kind) as caught:
        call(child, "fail", of=of)
    assert type(caught.value) is kind
    assert caught.value.problems == ("no such weights", "nor such others")
    assert call(child, "pid") == pid


def test_any_other_error_is_a_crash_with_its_traceback(child: Child) -> None:
    """An unexpected error, also an answer that cannot be sent, is a crash that keeps the traceback."""
    with pytest.raises(Crash, match=r"^ValueError: wrong value$") as caught:
        call(child, "fail", of="value")
    assert "Traceback" in caught.value.log_tail
    with pytest.raises(Crash, match="not JSON serializable"):
        call(child, "not json")


def test_a_request_that_is_not_in_the_table_is_refused(child: Child) -> None:
    """A child does what its table names and nothing else; it says what that is."""
    with pytest.raises(Crash, match=r"a child process does echo, pid, .*, it was asked to do '__import__'"):
        call(child, "__import__")


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "NothingFits", "Exception", "__builtins__"])
def test_a_child_cannot_raise_what_is_not_in_the_table(child: Child, name: str) -> None:
    """Whatever class a child names, its parent raises one of the errors that may cross, else a crash that says so."""
    with pytest.raises(Crash, match=f"may not raise '{name}'"):
        call(child, "reply", line=json.dumps({"error": {"kind": name, "message": "m", "problems": ["p"]}}))


@pytest.mark.parametrize("line", ["no JSON", "[1]", '{"answer": 1}', '{"error": "text"}'])
def test_a_reply_that_is_none_is_a_crash(child: Child, line: str) -> None:
    """What is neither an answer nor an error ends the child, and the next call works."""
    pid = call(child, "pid")["pid"]
    with pytest.raises(Crash, match="must reply with an answer or an error"):
        call(child, "reply", line=line)
    assert not _alive(pid)
    assert call(child, "echo", text="there") == {"text": "there"}


def test_a_child_tidies_up_before_it_answers(child: Child) -> None:
    """What is to be done after each request is done before the parent goes on, also after an error."""
    child.send("echo", stage="testing")
    child.receive(stage="testing")
    assert "tidied up" in child._log_tail()
    with pytest.raises(Crash) as caught:
        call(child, "fail", of="value")
    assert "tidied up" in child._log_tail() and "tidied up" not in caught.value.log_tail


def test_prints_do_not_break_the_protocol(child: Child) -> None:
    """Whatever a library writes to stdout or stderr is not taken for an answer."""
    assert call(child, "print") == {"done": True}
    assert call(child, "echo", text="there") == {"text": "there"}


def test_an_old_log_does_not_judge_a_new_call(child: Child) -> None:
    """Words about memory that an earlier call left in the log do not make a later crash out-of-memory."""
    with pytest.raises(OutOfMemory):
        call(child, "native memory")
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
    child.send("pid", stage="testing", continues=True)
    assert child.receive(stage="testing", timeout_s=30)["pid"] == pid
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    _wait_until_dead(pid)
    with pytest.raises(OutOfMemory, match="testing was killed"):
        child.send("pid", stage="testing", continues=True)
    assert call(child, "pid")["pid"] != pid


def test_a_grandchild_that_keeps_the_pipe_does_not_block(child: Child) -> None:
    """The death is noticed although a process that the child started still holds its end of the pipe."""
    with pytest.raises(Crash, match="exit code 5"):
        call(child, "orphan")


def test_an_interrupt_leaves_no_stale_answer(module: str) -> None:
    """After Ctrl-C in the middle of a call the next call gets its own answer, from a new child."""

    def interrupt(pid: int) -> int:
        raise KeyboardInterrupt

    with Child(module, look_again_s=0.05, held_bytes=interrupt) as child:
        pid = call(child, "pid")["pid"]
        with pytest.raises(KeyboardInterrupt):
            child.call("hold", {"bytes": 1, "seconds": 0.5}, stage="testing", memory_bytes=10**9)
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
        child.call("pid", stage="testing", timeout_s=30)
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
print(child.call("pid", stage="testing", timeout_s=30)["pid"], flush=True)
child.call("hang", stage="testing", timeout_s=600)
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
