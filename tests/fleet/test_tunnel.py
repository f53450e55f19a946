"""The way of a search to a target: messages and files go through as over ssh, and the target is free when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from autoopt.measure.remote import messages
from autoopt.measure.remote.address import Address
from tests.fleet.cluster import Cluster

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def targets(certs: Path) -> Iterator[Cluster]:
    with Cluster(certs.parent, certs) as cluster:
        cluster.start_hub("--lost-after", "5s")
        cluster.wait_for("hub")
        cluster.start_target("ward", certs.parent / "ward-home")
        cluster.wait_for("ward")
        yield cluster


class Tunnel:
    """A tunnel as a search has it."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.process, self.folder = process, folder
        self.into, self.out = process.stdin, process.stdout

    def ask(self, message: dict[str, Any], *files: Path) -> tuple[dict[str, Any], list[Path]]:
        messages.send(self.into, message, files)
        return messages.receive(self.out, self.folder)

    def said(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode().strip()


@contextmanager
def tunnel(cluster: Cluster, folder: Path, name: str = "ward") -> Iterator[Tunnel]:
    address = Address.of(f"{cluster.hub}/{name}?certs={cluster.certs}/client")
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        address.command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            yield Tunnel(process, folder)
        finally:
            process.kill()


def test_messages_and_files_go_through(targets: Cluster, tmp_path: Path) -> None:
    """The keeper of the target answers; files of several sizes arrive whole, and what is no job is refused in words."""
    with tunnel(targets, tmp_path / "one") as way:
        answer, _ = way.ask({"do": "hello"})
        assert answer["answer"]["host"]["cores"] >= 1
        (tmp_path / "large.bin").write_bytes(bytes(range(256)) * 20_000)
        (tmp_path / "empty").touch()
        files = [tmp_path / "large.bin", tmp_path / "empty"]
        told = {path.name: messages.sha256(path) for path in files}
        assert way.ask({"do": "put", "artifact": ["cases", "abc123"], "sha256": told}, *files)[0] == {"answer": {}}
        kept = targets.folder / "ward-home" / "store" / "cases" / "abc123"
        assert (kept / "large.bin").read_bytes() == (tmp_path / "large.bin").read_bytes()
        assert "it was asked to do 'nothing'" in str(way.ask({"do": "nothing"})[0]["error"])


def test_a_target_is_free_when_its_search_is_gone(targets: Cluster, tmp_path: Path) -> None:
    """A second search is refused in one sentence while the first one lives, and gets the target after its kill -9."""
    with tunnel(targets, tmp_path / "first") as first:
        first.ask({"do": "hello"})
        with tunnel(targets, tmp_path / "second") as second:
            assert second.process.wait(30) == 1
            assert second.said().startswith(f"ward must be free, the search 'process {os.getpid()} on ")
        messages.send(first.into, {"do": "noise", "seconds": 2})
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    with tunnel(targets, tmp_path / "third") as third:
        assert "answer" in third.ask({"do": "hello"})[0]


def test_a_target_that_dies_ends_the_way_with_a_sentence(targets: Cluster, tmp_path: Path) -> None:
    """Who uses the way sees its end and why, and finds the target there again once something started it."""
    with tunnel(targets, tmp_path / "cut") as way:
        way.ask({"do": "hello"})
        messages.send(way.into, {"do": "noise", "seconds": 3})
        with targets.fleet() as fleet:
            while fleet.members()[0].busy is None:
                pass
        targets.signal("ward", signal.SIGKILL)
        with pytest.raises(messages.Closed):
            messages.receive(way.out, way.folder)
        assert way.said() == "ward went away in measure"
    targets.start_target("ward", targets.folder / "ward-home")
    targets.wait_for("ward")
    with tunnel(targets, tmp_path / "again") as way:
        assert "answer" in way.ask({"do": "hello"})[0]
