"""A fleet on loopback: a hub, two targets, requests and answers, and whatever can die in between."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from autoopt.errors import BusyError, Timeout, Unsupported
from autoopt.fleet.fleet import Fleet, Lost
from tests.fleet.cluster import Cluster

pytest.importorskip("distributed")


def sleep(fleet: Fleet, name: str, run: str, seconds: float, journal: Path, **more: Any) -> dict[str, Any]:
    request = {"session": "s", "do": "sleep", "run": run, "name": run, "seconds": seconds, "journal": str(journal)}
    return fleet.call(name, {**request, **more}, stage="measure", timeout_s=60)[0]


def begun(journal: Path) -> list[str]:
    return [line.split()[0] for line in journal.read_text().splitlines()] if journal.exists() else []


def until_begun(journal: Path, run: str) -> None:
    until = time.monotonic() + 30
    while run not in begun(journal):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_one_request_at_a_time_reaches_a_target_and_all_work_together(cluster: Cluster, tmp_path: Path) -> None:
    """Runs of one target follow each other in one child process, those of two targets overlap."""
    with cluster.fleet() as fleet, ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(sleep, fleet, name, f"{name}{n}", 0.3, tmp_path / "j") for n in range(3) for name in "ab"]
        found = [run.result() for run in runs]
    spans = {
        pid: sorted((item["began"], item["ended"]) for item in found if item["pid"] == pid)
        for pid in {item["pid"] for item in found}
    }
    assert len(spans) == 2
    for items in spans.values():
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(items))
    first, second = spans.values()
    assert any(a[0] < b[1] and b[0] < a[1] for a in first for b in second)


def test_errors_and_bytes_cross(cluster: Cluster) -> None:
    """An error of the child is raised at the driver by its class; large requests come back as they were."""
    with cluster.fleet() as fleet:
        with pytest.raises(Unsupported, match="no such thing"):
            fleet.call("a", {"session": "s", "do": "refuse"}, stage="measure", timeout_s=9)
        large = "x" * 3_000_000
        answer, _ = fleet.call("a", {"session": "s", "do": "echo", "text": large}, stage="measure", timeout_s=9)
        assert answer["text"] == large


def test_a_limit_of_time_ends_the_child(cluster: Cluster, tmp_path: Path) -> None:
    """A run that takes too long is ended where it runs, and the target is free for the next one."""
    with cluster.fleet() as fleet:
        with pytest.raises(Timeout, match=r"longer than its limit of 0\.5 s"):
            sleep(fleet, "a", "long", 60, tmp_path / "j", timeout_s=0.5)
        assert sleep(fleet, "a", "next", 0, tmp_path / "j")["pid"]


def test_a_target_is_of_one_study(cluster: Cluster) -> None:
    """A second search cannot have a target that another one uses; it can once that one is gone."""
    with cluster.fleet("second") as second:
        with cluster.fleet("first") as first:
            first.claim("a")
            with pytest.raises(BusyError, match="a must be free, the search 'first' uses it"):
                second.claim("a")
            assert [item.study for item in second.members("target")] == ["first", None]
        until = time.monotonic() + 30
        while second.members()[0].study is not None:
            assert time.monotonic() < until
        second.claim("a")


def test_a_target_that_dies_is_told_and_nothing_runs_twice(cluster: Cluster, tmp_path: Path) -> None:
    """kill -9 in a run: the driver is told, the other target begins nothing; a late joiner of that name goes on."""
    journal = tmp_path / "j"
    with cluster.fleet() as fleet, ThreadPoolExecutor(1) as pool:
        run = pool.submit(sleep, fleet, "b", "killed", 60, journal)
        until_begun(journal, "killed")
        cluster.signal("b", signal.SIGKILL)
        with pytest.raises(Lost, match="b went away in measure") as caught:
            run.result(30)
        assert caught.value.by_signal
        with pytest.raises(Lost, match="b is not in the fleet"):
            sleep(fleet, "b", "gone", 0, journal)
        cluster.start_member("b")
        assert fleet.wait_for("b").name == "b"
        assert sleep(fleet, "b", "again", 0, journal)["pid"]
    assert begun(journal) == ["killed", "again"]


def test_a_target_that_is_frozen_is_given_up(cluster: Cluster, tmp_path: Path) -> None:
    """A suspended machine counts as gone; when it wakes up it ends, with what it was doing, and says so."""
    journal = tmp_path / "j"
    with cluster.fleet() as fleet, ThreadPoolExecutor(1) as pool:
        run = pool.submit(sleep, fleet, "b", "frozen", 2, journal)
        until_begun(journal, "frozen")
        cluster.signal("b", signal.SIGSTOP)
        with pytest.raises(Lost, match="b "):
            run.result(60)
        cluster.signal("b", signal.SIGCONT)
        assert cluster.processes["b"].wait(60) == 2
        assert "went away or took b for gone" in cluster.said("b")
        cluster.start_member("b")
        fleet.wait_for("b")
    assert begun(journal) == ["frozen"]


def test_a_hub_that_starts_again_costs_nothing_but_time(cluster: Cluster, tmp_path: Path) -> None:
    """kill -9 of the hub in a run: the driver is told, targets end after their run, all find each other again."""
    journal = tmp_path / "j"
    with cluster.fleet() as fleet, ThreadPoolExecutor(1) as pool:
        fleet.claim("a")
        run = pool.submit(sleep, fleet, "a", "hub", 3, journal)
        until_begun(journal, "hub")
        cluster.signal("hub", signal.SIGKILL)
        with pytest.raises(Lost, match=r"the hub at .* went away"):
            run.result(60)
        for name in ("a", "b"):
            assert cluster.processes[name].wait(60) == 2
            assert "the hub at" in cluster.said(name)
        cluster.start_hub("--lost-after", "5s")
        cluster.wait_for("hub")
        for name in ("a", "b"):
            cluster.start_member(name)
        fleet.wait_for("a")
        assert sleep(fleet, "a", "after", 0, journal)["pid"]
        assert {item.name: item.study for item in fleet.members()}["a"] == "a study"
