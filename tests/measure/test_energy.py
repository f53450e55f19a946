"""Joules: packages once, counters that go round, and nothing where nobody counts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.measure import energy
from autoopt.measure.energy import Counter, Reading, between, consumed_uj, packages, read

RANGE_UJ = 262143328850


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """NVML is looked for once per process: forget what was found."""
    energy._nvml.cache_clear()
    yield
    energy._nvml.cache_clear()


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


class _NVMLError(Exception):
    pass


def nvml(monkeypatch: pytest.MonkeyPatch, *gpus_mj: int | None) -> ModuleType:
    """A stand-in for pynvml with these counters; None is a processor that has none."""
    library = ModuleType("pynvml")

    def total(handle: int) -> int:
        found = gpus_mj[handle]
        if found is None:
            raise _NVMLError("not supported")
        return found

    parts = {
        "NVMLError": _NVMLError,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: len(gpus_mj),
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetTotalEnergyConsumption": total,
    }
    for name, part in parts.items():
        setattr(library, name, part)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return library


def test_packages_once(powercap: Path) -> None:
    """Only packages count: not their parts, not what contains them, not the same one by another way."""
    assert packages(powercap) == {"intel-rapl:0": Counter(1000, RANGE_UJ), "intel-rapl:1": Counter(2000, RANGE_UJ)}


def test_joules_of_all_packages(powercap: Path) -> None:
    """Between two readings the packages add up, in joules."""
    before = read(powercap)
    (powercap / "intel-rapl:0" / "energy_uj").write_text("3001000\n")
    (powercap / "intel-rapl:1" / "energy_uj").write_text("1502000\n")
    after = read(powercap)
    assert between(before, after).packages_j == pytest.approx(4.5)
    assert between(before, after).wall_s == after.at_s - before.at_s


def test_a_counter_that_may_not_be_read(powercap: Path) -> None:
    """One package that only root may read leaves the sum unknown, and so does a host without RAPL."""
    (powercap / "intel-rapl:1" / "energy_uj").unlink()
    assert packages(powercap) is None
    assert packages(powercap / "nowhere") is None
    assert between(read(powercap), read(powercap)).packages_j is None


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
    assert between(Reading(0.0, before, None), Reading(60.0, after, None)).packages_j == pytest.approx(5e-6)
    assert between(Reading(0.0, before, None), Reading(70.0, after, None)).packages_j is None


def test_graphics_processors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With pynvml the millijoules of all graphics processors add up."""
    nvml(monkeypatch, 1000, 2000)
    before = read(tmp_path)
    energy._nvml.cache_clear()
    nvml(monkeypatch, 1500, 4000)
    assert between(before, read(tmp_path)).gpus_j == pytest.approx(2.5)


def test_no_graphics_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without pynvml, a driver, a processor or a counter nothing is known."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert read(tmp_path).gpus_mj is None
    for counters in ((), (1000, None)):
        energy._nvml.cache_clear()
        nvml(monkeypatch, *counters)
        assert read(tmp_path).gpus_mj is None

    def refused() -> None:
        raise _NVMLError("no driver")

    energy._nvml.cache_clear()
    monkeypatch.setattr(nvml(monkeypatch, 1000), "nvmlInit", refused)
    assert read(tmp_path).gpus_mj is None


@pytest.mark.parametrize("after", [None, (10,), (10, 5)])
def test_a_driver_that_was_loaded_again(after: tuple[int, ...] | None) -> None:
    """Other processors, or counters that went back, leave the joules unknown."""
    assert between(Reading(0.0, None, (10, 10)), Reading(1.0, None, after)).gpus_j is None
