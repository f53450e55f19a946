"""The command `train` is interrupted, and started again."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from autoopt.nets.weights import read_info
from tests import tiny
from tests.e2e.helpers import start

pytest.importorskip("torch")


def interrupted(arguments: tuple[str, ...], number: int) -> tuple[int, list[str]]:
    """The exit code and the lines of the command, sent this signal after two epochs of its own."""
    process = start(*arguments)
    assert process.stderr is not None
    lines, epochs = list[str](), 0
    for line in process.stderr:
        lines.append(line.rstrip())
        if line.startswith("epoch "):
            epochs += 1
            if epochs == 3:
                process.send_signal(number)
    try:
        return process.wait(timeout=60), lines
    finally:
        process.kill()
        process.communicate()


def place(text: str) -> int:
    found = re.search(r"after epoch (\d+) of 1000000$", text)
    assert found, text
    return int(found[1])


def test_a_training_that_is_interrupted_goes_on(tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM: the best weights are a file, named in the one last line, and the same command goes on."""
    arguments = ("train", "--workload", tiny.ENDLESS_SOURCE, "--demo", "--home", str(tmp_path))

    code, lines = interrupted(arguments, signal.SIGINT)
    assert code == 130
    last = lines[-1]
    found = re.match(
        r"autoopt: interrupted: the best weights so far \(dice_macro (0\.\d{4}) on val of tiny-endless \(demo data\)\)"
        r" are in (\S+); the same command continues after epoch \d+ of 1000000$",
        last,
    )
    assert found, last
    info = read_info(Path(found[2]))
    assert info is not None and f"{info.val['dice_macro']:.4f}" == found[1]

    code, lines = interrupted(arguments, signal.SIGTERM)
    assert code == 143
    assert place(lines[0]) == place(last) < place(lines[-1])
    assert not [line for line in lines if "Traceback" in line]
