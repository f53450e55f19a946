"""Reaching a target: what is refused, in one sentence that says what to do."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from autoopt.errors import StorageError, TargetLost, UsageError
from autoopt.measure.remote.address import Address
from autoopt.measure.remote.link import PipeLink
from autoopt.measure.remote.station import RemoteStation
from tests.measure.remote.keepers import address, keeper_pid, link
from tests.measure.setups import Setup


@pytest.mark.parametrize(
    ("script", "match"),
    [
        ("autoopt-keeper-that-is-not-there", "not found: install it there"),
        ("echo 'me@x: Permission denied (publickey).' >&2; exit 255", "put your public key into authorized_keys"),
        ("echo 'ssh: connect to host x port 22: Connection refused' >&2; exit 255", "check the port"),
        ("exit 3", "exit code 3"),
        ("echo welcome to this machine", "must answer as autoopt-keeper does.*welcome"),
    ],
)
def test_not_reached(script: str, match: str) -> None:
    """What ssh or a shell says is told with what to do, at once."""
    with PipeLink(Address("test://x", ("sh", "-c", script)), {}) as far, pytest.raises(UsageError, match=match):
        far.hello()


def test_other_versions(tmp_path: Path) -> None:
    """A keeper of another version of autoopt or of a runtime is refused, naming both versions."""
    with link(tmp_path / "far") as far:
        versions = {**far.hello().host.versions, "onnxruntime": "0.1"}
    if "onnxruntime" in far.hello().host.versions:
        with (
            PipeLink(address(tmp_path / "far"), versions) as other,
            pytest.raises(UsageError, match=r"has onnxruntime .* where this host has 0\.1: install"),
        ):
            other.hello()
    answer = json.dumps({"answer": {"protocol": 1, "autoopt": "0.0", "host": {}}})
    script = f"print({answer!r}, flush=True); input()"
    with (
        PipeLink(Address("test://x", (sys.executable, "-c", script)), {}) as older,
        pytest.raises(UsageError, match=r"it has 0.0 .protocol 1.: install there what `autoopt target pack` writes"),
    ):
        older.hello()


def test_gone_for_good(setup: Setup, tmp_path: Path) -> None:
    """A target that was reached and does not come back loses the trial, and says so once while it is waited for."""
    said: list[str] = []
    flag = tmp_path / "reached"
    home, before = tmp_path / "far", f"test -e {flag} && exit 255; touch {flag}"
    with link(home, before, gone_s=0.5, on_wait=said.append) as far:
        far.hello()
        os.kill(keeper_pid(home), signal.SIGKILL)
        with pytest.raises(TargetLost, match=r"did not come back within 0.5 s"):
            RemoteStation(far, "study").predictions(setup.fake(1.0), timeout_s=30.0)
        with pytest.raises(TargetLost, match=r"did not come back"):
            RemoteStation(far, "study").predictions(setup.fake(1.0), timeout_s=30.0)
        flag.unlink()
        assert RemoteStation(far, "study").predictions(setup.fake(1.0), timeout_s=30.0)
    assert len(said) == 1 and "was cut" in said[0]


def test_a_full_disk(setup: Setup, tmp_path: Path) -> None:
    """Nothing is sent to a disk that has no room for it; the sentence names the target and what to do."""
    os.truncate(setup.artifact.path / "fake.json", 2**43)  # nearly all of it is a hole
    with link(tmp_path / "far") as far:
        words = r"on the target test://far: .* MB must be free .*autoopt target forget"
        with pytest.raises(StorageError, match=words):
            RemoteStation(far, "study").predictions(setup.fake(1.0), timeout_s=30.0)


def test_forget(setup: Setup, tmp_path: Path) -> None:
    """After `forget` the target keeps nothing, and can be used again."""
    home = tmp_path / "far"
    with link(home) as far:
        station = RemoteStation(far, "study")
        station.predictions(setup.fake(1.0), timeout_s=30.0)
        assert far.ask("forget", {}).answer["removed_bytes"] > 0
        assert not (home / "store").exists() and not (home / "runs").exists()
        assert station.predictions(setup.fake(1.0), timeout_s=30.0)
