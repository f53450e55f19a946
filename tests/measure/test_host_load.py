"""What else the host did: counted from the kernel's files, shares that stay shares, and nothing invented."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.measure.host_load import Load, Own, Snapshot, Ticks, between, host_ticks, process_ticks, snapshot

STAT = """\
cpu  1000 200 300 4000 50 6 7 80 9 1
cpu0 600 100 200 2000 25 3 4 40 9 1
cpu1 400 100 100 2000 25 3 3 40 0 0
cpu10 1 1 1 1 1 1 1 1 1 1
intr 13025450 0 0 0
ctxt 13939522
btime 1700000000
"""
PROCESS = (
    "4242 (a (strange) name) S 1 4242 4242 0 -1 4194304 103 0 0 0 150 50 7 8 20 0 4 0 2921045 2998272 415 "
    "18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 3 0 0 0 0 0 1 1 1 1 1 1 1 0\n"
)


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """Example files of a kernel: /proc and the folder of the cores, both cores of the fixture below."""
    proc, cpus = tmp_path / "proc", tmp_path / "cpu"
    write(proc / "stat", STAT)
    write(proc / "4242/stat", PROCESS.replace(" 17 3 0", " 17 1 0"))
    for core in (0, 1):
        write(cpus / f"cpu{core}/thermal_throttle/core_throttle_count", "2\n")
        write(cpus / f"cpu{core}/thermal_throttle/package_throttle_count", "5\n")
    return proc, cpus


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def moment(at_s: float, busy: int, steal: int = 0, own: dict[int, Own] | None = None) -> Snapshot:
    """A snapshot of two cores that knows nothing of throttling."""
    return Snapshot(at_s, (0, 1), Ticks(busy, steal), {} if own is None else own, None)


def test_ticks_of_the_host() -> None:
    """Busy is everything but idle, waiting for a disk and stolen; a guest is not counted twice."""
    assert host_ticks(STAT, (0,)) == Ticks(600 + 100 + 200 + 3 + 4, 40)
    assert host_ticks(STAT, (0, 1)) == Ticks(907 + 606, 80)


@pytest.mark.parametrize(
    ("text", "cores"), [("", (0,)), (STAT, (0, 2)), (STAT, ()), ("cpu0 1 2 3 4\n", (0,)), ("cpu0 nonsense\n", (0,))]
)
def test_a_core_that_is_not_listed_is_unknown(text: str, cores: tuple[int, ...]) -> None:
    """The ticks are None unless every core that may be used is listed with all its fields."""
    assert host_ticks(text, cores) is None


def test_ticks_of_a_process() -> None:
    """User and system time count, that of ended children does not; the name may hold brackets and spaces."""
    assert process_ticks(PROCESS) == Own(start=2921045, ticks=200)
    assert process_ticks("") is None
    assert process_ticks("1 (short) S 1") is None


def test_a_snapshot(roots: tuple[Path, Path]) -> None:
    """All is read: the cores, the process, each core's throttling and its package's once."""
    proc, cpus = roots
    found = snapshot([4242], proc=proc, cpus=cpus)
    assert found.host == Ticks(1513, 80)
    assert found.own == {4242: Own(2921045, 200)}
    assert found.throttles == 2 + 2 + 5


def test_between_two_snapshots(roots: tuple[Path, Path]) -> None:
    """Foreign is what the cores computed less what the own process did, over what they could have computed."""
    proc, cpus = roots
    before = snapshot([4242], proc=proc, cpus=cpus)
    write(
        proc / "stat",
        STAT.replace("cpu0 600", "cpu0 680").replace(
            "cpu1 400 100 100 2000 25 3 3 40", "cpu1 460 0 200 2000 25 3 3 60"
        ),
    )
    write(proc / "4242/stat", PROCESS.replace(" 150 50 7 8 ", " 200 60 9 9 "))
    write(cpus / "cpu0/thermal_throttle/core_throttle_count", "3\n")
    after = snapshot([4242], proc=proc, cpus=cpus)
    load = between(before, replace(after, at_s=before.at_s + 1), ticks_per_s=100)
    assert load == Load(pytest.approx(1.0), pytest.approx(80 / 200), pytest.approx(20 / 200), 1)


def test_nothing_can_be_read(tmp_path: Path) -> None:
    """On a kernel that tells nothing everything but the time is None."""
    before, after = (snapshot([1], proc=tmp_path, cpus=tmp_path) for _ in range(2))
    load = between(before, after)
    assert load.wall_s >= 0
    assert (load.foreign_share, load.steal_share, load.throttles) == (None,) * 3


def test_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where cores cannot be pinned, as on macOS, nothing is known."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    before, after = snapshot(), snapshot()
    assert between(before, after).foreign_share is None
    assert before.host is None


@pytest.mark.parametrize(
    "after",
    [{}, {7: Own(99, 10)}, {7: Own(1, 10), 8: Own(1, 0)}, None],
    ids=["ended", "another process of its number", "one more", "unreadable"],
)
def test_a_process_that_is_not_there_any_more(after: dict[int, Own] | None) -> None:
    """Foreign time is unknown unless the very same processes are there at both moments; stolen time is not."""
    last = Snapshot(1.0, (0, 1), Ticks(100, 10), after, None)
    load = between(moment(0.0, 0, own={7: Own(1, 5)}), last, ticks_per_s=100)
    assert load.foreign_share is None
    assert load.steal_share == pytest.approx(0.05)


def test_no_time_passed() -> None:
    """Of two snapshots of one moment no share is known."""
    assert between(moment(3.0, 5), moment(3.0, 9)).foreign_share is None


@given(
    seconds=st.floats(1e-3, 1e4),
    ticks=st.tuples(*[st.integers(0, 10**9)] * 2),
    own=st.tuples(*[st.integers(0, 10**9)] * 2),
    steal=st.tuples(*[st.integers(0, 10**9)] * 2),
)
def test_shares_are_shares(
    seconds: float, ticks: tuple[int, int], own: tuple[int, int], steal: tuple[int, int]
) -> None:
    """Whatever the counters say, also when they go backwards, a share is between 0 and 1."""
    before, after = (
        moment(at, *pair, {7: Own(1, mine)})
        for at, pair, mine in zip((0, seconds), zip(ticks, steal, strict=True), own, strict=True)
    )
    load = between(before, after)
    assert load.foreign_share is not None and 0 <= load.foreign_share <= 1
    assert load.steal_share is not None and 0 <= load.steal_share <= 1


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux tells")
def test_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux the real counters give a share, and this process is not foreign to itself."""
    monkeypatch.undo()
    before = snapshot([os.getpid()])
    ends = time.monotonic() + 0.1
    while time.monotonic() < ends:
        pass
    load = between(before, snapshot([os.getpid()]))
    assert load.wall_s >= 0.1
    assert load.foreign_share is None or 0 <= load.foreign_share <= 1
