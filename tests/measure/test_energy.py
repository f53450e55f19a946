"""Joules: packages once, counters that wrap around, and nothing where nobody counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.measure.energy import Counter, Reading, between, consumed_uj, packages, read, why_unreadable

RANGE_UJ = 262143328850


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Two packages with their parts, the platform around them, and one of the packages a second time."""
    for folder, name, value in (
        ("intel-rapl:0", "package-0", 1000),
        ("intel-rapl:0:0", "core", 10),
        ("intel-rapl:0:1", "dram", 10),
        ("intel-rapl:1", "package-1", 2000),
        ("intel-rapl:2", "psys", 5000),
        ("intel-rapl-mmio:0", "package-0", 1000),
    ):
        domain(tmp_path / folder, name, value)
    return tmp_path


def domain(folder: Path, name: str, energy_uj: int) -> None:
    folder.mkdir()
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")


def test_packages_once(powercap: Path) -> None:
    """Only packages count: not their parts, not what contains them, not the same one by another way."""
    assert packages(powercap) == {"intel-rapl:0": Counter(1000, RANGE_UJ), "intel-rapl:1": Counter(2000, RANGE_UJ)}


def test_joules_of_all_packages(powercap: Path) -> None:
    """Between two readings the packages add up, in joules."""
    before = read(powercap)
    (powercap / "intel-rapl:0" / "energy_uj").write_text("3001000\n")
    (powercap / "intel-rapl:1" / "energy_uj").write_text("1502000\n")
    after = read(powercap)
    assert between(before, after) == pytest.approx(4.5)


def test_a_counter_that_may_not_be_read(powercap: Path) -> None:
    """One package that only root may read leaves the sum unknown, and so does a host without RAPL."""
    (powercap / "intel-rapl:1" / "energy_uj").unlink()
    assert packages(powercap) is None
    assert packages(powercap / "nowhere") is None
    assert between(read(powercap), read(powercap)) is None


@given(start=st.integers(0, RANGE_UJ - 1), used=st.integers(0, RANGE_UJ - 1))
def test_counters_go_round(start: int, used: int) -> None:
    """What was used is found again, also when the counter started again at 0 meanwhile."""
    after = Counter((start + used) % RANGE_UJ, RANGE_UJ)
    assert consumed_uj(Counter(start, RANGE_UJ), after) == used


@given(start=st.integers(0, RANGE_UJ - 1), end=st.integers(0, RANGE_UJ - 1))
def test_consumption_is_never_negative(start: int, end: int) -> None:
    """Any two values of a counter give something from nothing to one round."""
    assert 0 <= consumed_uj(Counter(start, RANGE_UJ), Counter(end, RANGE_UJ)) < RANGE_UJ


def test_too_long_to_tell() -> None:
    """A counter that may have gone round more than once tells nothing."""
    before, after = ({"intel-rapl:0": Counter(value, 65_000_000_000)} for value in (5, 10))
    assert between(Reading(0.0, before), Reading(60.0, after)) == pytest.approx(5e-6)
    assert between(Reading(0.0, before), Reading(70.0, after)) is None


def test_why_nothing_can_be_told(powercap: Path, tmp_path: Path) -> None:
    """A host without counters is told from one whose counters only root reads, with what to do; one that tells has no
    reason."""
    assert why_unreadable(powercap) == ""
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert "cannot be read: let root run chmod a+r" in why_unreadable(powercap)
    assert "the kernel has no counter" in why_unreadable(tmp_path / "nowhere")
