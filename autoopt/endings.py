"""How a command ends: an error becomes one message and an exit code; an interrupt says what is kept."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from autoopt.errors import AutooptError, Interrupted, UsageError

INTERRUPTED = 130
"""The exit code of Ctrl-C: 128 and the number of the signal."""
KEPT = {
    "search": "all finished trials are stored; the same command continues with the next one",
    "train": "epochs that were finished are kept; the same command continues after the last of them",
    "pull": "no bundle was written; artifacts that were made are kept",
    "predict": "files that were written are whole; the same command writes all of them again",
    "check": "nothing was changed; what was found so far is not kept",
    "sign": "no signature was written",
    "register": "versions that were registered stay; the same command goes on with the others",
    "training-study": "rows that were finished are kept; the same command continues with the next one",
    "matrix": "nothing is kept but what --home has; cells that were made there are not made again",
    "sensitivity": "artifacts that were made are kept; the same command continues with the others",
    "explain": "nothing was written; artifacts that were made are kept",
    "gc": "what was removed is gone, nothing that a study needs; the same command goes on",
    "remeasure": "trials that were measured again are stored as a study of their own; bundles are as they were",
    "replay": "nothing was changed; artifacts that were made are kept",
}
"""What is left of a command that was interrupted, by its name, where the interrupt itself does not say it."""
NOTHING = "nothing was changed"


def ended(command: Callable[[], object]) -> NoReturn:
    """Run a command and end the process: whatever ends it is told in one message on standard error, never a traceback.

    The exit code is that of the command or of an error of ours, 2 where the machine cannot go on, 130, 143 and 129 for
    Ctrl-C, SIGTERM and a terminal that went away (SIGHUP).
    """
    _open_standard_streams()
    # numpy's library starts threads when it is imported, and interrupts where it may not; nothing here needs them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    ended_by, kept = [signal.SIGINT], ""

    def end(number: int, frame: FrameType | None) -> None:
        ended_by.append(signal.Signals(number))
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    with suppress(ValueError):  # only the main thread may: elsewhere they end the process as ever
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # nohup wants the command to go on
                signal.signal(number, end)
    code: int | str | None = 0
    try:
        command()
    except (SystemExit, KeyboardInterrupt) as error:
        code = error.code if isinstance(error, SystemExit) else INTERRUPTED
        kept = _said(error)
    except AutooptError as error:
        code = _say(str(error), error.exit_code)
    except (OSError, MemoryError, ImportError, RuntimeError) as error:
        if not isinstance(error, BrokenPipeError):
            code = _say(_lacking(error), UsageError.exit_code)
    finally:
        for number, handler in before.items():
            with suppress(ValueError, TypeError):
                signal.signal(number, handler)
    if code == INTERRUPTED:
        code = _say(f"interrupted: {kept or _kept()}", 128 + ended_by[-1])
    _flush(code)


def _lacking(error: Exception) -> str:
    """What the machine or the installation lacks. Raises the error again where that is not known: a fault of ours."""
    from autoopt.core.host_problem import own_problem
    from autoopt.core.packages import lacking

    problem = own_problem(error) or lacking(error)
    if problem is None:
        raise error
    return str(problem)


def _said(error: BaseException | None) -> str:
    """What an interrupt said that is kept: typer makes an exit of it, so it is looked for behind that."""
    seen: list[BaseException] = []
    while error is not None and error not in seen and not isinstance(error, Interrupted):
        seen.append(error)
        error = error.__cause__ or error.__context__
    return "" if error is None else str(error)


def _kept() -> str:
    return next((KEPT[word] for word in sys.argv[1:] if word in KEPT), NOTHING)


def _say(text: str, code: int) -> int:
    with suppress(OSError):  # nobody reads it
        for line in text.splitlines():
            sys.stderr.write(f"autoopt: {line}\n")
    return code


def _flush(code: int | str | None) -> NoReturn:
    """Write what is left to be written, and exit; a reader that went away, such as head, is no error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            with Path(os.devnull).open("w") as nowhere:  # Python flushes once more at its end
                os.dup2(nowhere.fileno(), stream.fileno())
            if stream is sys.stdout and not isinstance(error, BrokenPipeError):
                code = _say(f"standard output cannot be written to: {error.strerror}", UsageError.exit_code)
    sys.exit(code)


def _open_standard_streams() -> None:
    """Open /dev/null for standard streams that are closed: the next file to be opened would get their place."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for the life of the process
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            # A name with letters that the locale lacks is shown with their codes, it ends no command.
            stream.reconfigure(errors="backslashreplace")
