"""How a command ends, whatever ends it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, os, signal, time, errno
from autoopt.endings import ended
from autoopt.errors import Interrupted, NothingFits, UsageError
sys.argv = ["autoopt", "search"]
def command():
    {body}
ended(command)
"""


def run(body: str, *, shell: str = "", send: int | None = None) -> subprocess.CompletedProcess[str]:
    """A command whose body is this line, perhaps with redirections of a shell."""
    command = [sys.executable, "-c", PROGRAM.format(body=body)]
    if shell:
        command = ["sh", "-c", f'"$0" "$@" {shell}', *command]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if send is not None:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(send)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        ("pass", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("raise UsageError('a must be 1', 'b must be 2')", 2, "autoopt: a must be 1\nautoopt: b must be 2\n"),
        ("raise NothingFits('nothing fits')", 3, "autoopt: nothing fits\n"),
        ("raise OSError(errno.EMFILE, 'Too many open files')", 2, "autoopt: too many open files"),
        ("raise MemoryError", 2, "autoopt: no memory is left"),
        ("raise RuntimeError('can\\'t start new thread')", 2, "autoopt: no further process or thread can be started"),
    ],
)
def test_an_error_is_one_message_and_an_exit_code(body: str, code: int, told: str) -> None:
    """Bad input, a search without result and a machine that lacks something are told in words, each with its code."""
    done = run(body)
    assert done.returncode == code and "Traceback" not in done.stderr
    assert done.stderr.startswith(told) and bool(done.stderr) == bool(told)


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    """What should never happen is not hidden."""
    for error in ("KeyError('x')", "RuntimeError('x')", "ImportError('x')"):
        assert "Traceback" in run(f"raise {error}").stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupt_says_what_is_kept(number: int, code: int) -> None:
    """Ctrl-C, SIGTERM and a lost terminal end a command in order, with one line and the exit code of the signal."""
    done = run("print('ready', flush=True); time.sleep(60)", send=number)
    assert done.returncode == code
    assert done.stderr == (
        "autoopt: interrupted: all finished trials are stored; the same command continues with the next one\n"
    )


def test_a_command_below_nohup_outlives_its_terminal() -> None:
    """Where whoever starts a command lets SIGHUP be ignored, as nohup does, it goes on."""
    program = PROGRAM.format(body="os.kill(os.getpid(), signal.SIGHUP); print('done')")
    below = ["sh", "-c", 'trap "" HUP; exec "$0" "$@"', sys.executable, "-c", program]
    done = subprocess.run(below, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.parametrize("around", ["command()", "import typer; sys.argv[1:] = []; typer.run(command)"])
def test_an_interrupt_may_say_itself_what_is_kept(around: str) -> None:
    """Where the work that was interrupted knows better, its words are told, through what typer makes of them too."""
    done = run(f"def command(): raise Interrupted('a file'); \n    {around}")
    assert (done.returncode, done.stderr) == (130, "autoopt: interrupted: a file\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_said() -> None:
    """A full disk behind standard output is one line, at once or at the end; nothing follows from Python's own end."""
    for body in ("print('much')", "print('much', flush=True)"):
        done = run(body, shell="> /dev/full")
        assert done.returncode == 2
        assert re.fullmatch("autoopt: .*(No space left on device|no room left on the disk).*\n", done.stderr)


def test_a_reader_that_goes_away_is_no_error() -> None:
    """Whoever looks at the first lines only, as head does, is not told of the others."""
    assert run("[print(n) for n in range(100000)]", shell="| head -1").stderr == ""


def test_closed_streams_are_no_error() -> None:
    """A command that is started without standard streams does its work, and no file of it takes their place."""
    body = (
        "handle = os.open(os.devnull, os.O_RDONLY); assert handle > 2; print('x'); sys.stderr.write('y'); sys.exit(7)"
    )
    assert run(body, shell="<&- >&- 2>&-").returncode == 7
