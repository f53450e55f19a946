"""The keeper by itself: what it needs, what it refuses, how it rests."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from autoopt.measure.remote import messages
from autoopt.measure.remote.keeper import Keeper, serve
from tests.measure.remote.keepers import keeper_pid, link

BANNED = """
import sys
class Ban:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {banned}:
            raise ImportError("banned: " + name)
sys.meta_path.insert(0, Ban())
import autoopt.measure.remote.keeper
import autoopt.measure.worker
"""
HEAVY = ("torch", "scipy", "optuna", "mlflow", "openvino", "onnxruntime", "yaml", "rich", "typer", "distributed")


def test_needs_numpy_alone() -> None:
    """The keeper and its workers are imported with numpy and psutil alone."""
    ran = subprocess.run([sys.executable, "-c", BANNED.format(banned=set(HEAVY))], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def _asked(home: Path, tmp_path: Path, *lines: bytes) -> list[dict[str, Any]]:
    sink = io.BytesIO()
    folder = tmp_path / "came"
    folder.mkdir()
    with Keeper(home) as keeper:
        serve(keeper, io.BytesIO(b"".join(lines)), sink, folder)
    return [json.loads(line) for line in sink.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"do": "exec", "command": "id"}, "a keeper does hello, has, put"),
        ({"do": "put", "artifact": ["..", "x"], "sha256": {}}, "named by a kind and a digest"),
        ({"do": "told", "runs": ["../../etc"]}, "must be hexadecimal digits"),
        ({"do": "predictions", "run": "/etc/passwd"}, "must be hexadecimal digits"),
    ],
)
def test_refuses(tmp_path: Path, request_: dict[str, Any], words: str) -> None:
    """A job that is not in the table, and a name that leads elsewhere, are refused in words."""
    home = tmp_path / "home"
    home.mkdir()
    (reply,) = _asked(home, tmp_path, json.dumps(request_).encode() + b"\n")
    assert words in reply["error"]["problems"][0]
    assert list(home.iterdir()) == []


def test_a_file_outside_its_folder(tmp_path: Path) -> None:
    """A file of an artifact whose name leads out of its folder is refused, and not written."""
    home, data = tmp_path / "home", b"evil"
    home.mkdir()
    file = tmp_path / "evil"
    file.write_bytes(data)
    stream = io.BytesIO()
    name = "../../../evil-twin"
    request = {"do": "put", "artifact": ["model", "ab" * 32], "sha256": {name: messages.sha256(file)}}
    messages.send(stream, request, [file])
    (reply,) = _asked(home, tmp_path, stream.getvalue())
    assert "must lie in its folder" in reply["error"]["problems"][0]
    assert not list(tmp_path.rglob("evil-twin"))


def test_no_message(tmp_path: Path) -> None:
    """What is no message ends the keeper: nothing after it could be understood."""
    with pytest.raises(messages.Malformed, match="must be a message in JSON"):
        _asked(tmp_path, tmp_path, b"SSH-2.0-OpenSSH\n")


def test_a_second_driver(tmp_path: Path) -> None:
    """The keeper of a driver that is gone or forgotten makes room for the next one's."""
    home = tmp_path / "far"
    with link(home) as first:
        first.hello()
        before = keeper_pid(home)
        with link(home) as second:
            second.hello()
            assert keeper_pid(home) != before


def test_rests(tmp_path: Path) -> None:
    """A keeper that waits takes next to nothing of a core."""
    home = tmp_path / "far"
    with link(home) as far:
        far.hello()
        stat = Path(f"/proc/{keeper_pid(home)}/stat")
        if not stat.exists():
            pytest.skip("the kernel does not tell")
        before = _ticks(stat)
        time.sleep(1.0)
        assert _ticks(stat) - before <= 1  # a hundredth of a second


def _ticks(stat: Path) -> int:
    fields = stat.read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
