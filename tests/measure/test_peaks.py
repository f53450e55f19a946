"""The host's peaks: measured in a real child, kept per host and number of threads, never guessed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoopt.core.host import Host
from autoopt.errors import BusyError, StorageError
from autoopt.inference.roofline import Peaks
from autoopt.inference.runtimes.shared import has_f16
from autoopt.measure.peaks import keep_peaks, load_peaks, measure_peaks, peaks_path
from autoopt.measure.peaks_process import array_bytes, fastest, last_level_bytes
from autoopt.measure.target import LocalTarget

PEAKS = Peaks(1e11, None, None, 2e11, 1e10, threads=1, foreign_share=0.25)


QUICK: dict[str, Any] = {"rounds": 1, "round_s": 0.01, "memory_part": 4096}
"""One short round with small arrays."""


@pytest.fixture
def target(tmp_path: Path) -> LocalTarget:
    """This host, with a measuring lock of the test's own."""
    return LocalTarget(locks=tmp_path)


@pytest.mark.parametrize("threads", [1, 2])
def test_this_host_has_peaks(threads: int, target: LocalTarget) -> None:
    """Arithmetic in f32 and bandwidth are positive; what the host has no kernel for is None."""
    pytest.importorskip("openvino")
    found = measure_peaks(target, threads, **QUICK)
    assert found.threads == threads
    assert found.f32_flops_per_s > 0
    assert found.bandwidth_bytes_per_s > 0
    for name in ("bf16", "f16", "i8"):
        peak = found.ops_per_s(name)
        assert peak is None or peak > 0
    assert found.foreign_share is None or 0 <= found.foreign_share <= 1


def test_a_precision_without_kernels_is_absent(target: LocalTarget) -> None:
    """What OpenVINO calculates in another precision than it was asked for has no peak."""
    pytest.importorskip("openvino")
    if has_f16(target.host):
        pytest.skip("this host calculates in f16")
    found = measure_peaks(target, 1, tried=("f32", "f16"), **QUICK)
    assert found.f16_flops_per_s is None
    assert found.bf16_flops_per_s is None


def test_one_measurement_at_a_time(target: LocalTarget) -> None:
    """Peaks are not measured while something else is."""
    with target.exclusive(), pytest.raises(BusyError):
        measure_peaks(target, 1, wait_s=0)


def test_peaks_are_kept(tmp_path: Path, host: Host) -> None:
    """What was kept is found again, by host and by threads, and a new value replaces the old one."""
    assert load_peaks(tmp_path, host, 1) is None
    keep_peaks(tmp_path, host, PEAKS)
    keep_peaks(tmp_path, host, replace(PEAKS, threads=2))
    keep_peaks(tmp_path, host, replace(PEAKS, bf16_flops_per_s=3e11))
    assert load_peaks(tmp_path, host, 1) == replace(PEAKS, bf16_flops_per_s=3e11)
    assert load_peaks(tmp_path, host, 2) == replace(PEAKS, threads=2)
    assert load_peaks(tmp_path, replace(host, cpu="another"), 1) is None
    assert [path.name for path in (tmp_path / "hosts").iterdir()] == [f"{host.fingerprint}-peaks.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1, "peaks": [{"threads": 1}]}', '{"schema": 99, "peaks": []}'])
def test_a_damaged_file(tmp_path: Path, host: Host, text: str) -> None:
    """A file that cannot be read is named with what to do, and is not overwritten."""
    path = peaks_path(tmp_path, host)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(StorageError, match="delete it"):
        load_peaks(tmp_path, host, 1)
    with pytest.raises(StorageError, match="delete it"):
        keep_peaks(tmp_path, host, PEAKS)
    assert path.read_text() == text


def test_last_level_cache(tmp_path: Path) -> None:
    """The largest cache of a core is the last; where the kernel lists none it is unknown."""
    assert last_level_bytes(tmp_path) is None
    for index, size in enumerate(("32K", "512K", "32768K")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(f"{size}\n")
    assert last_level_bytes(tmp_path) == 32 << 20


def test_arrays_leave_the_cache_and_fit_in_memory() -> None:
    """An array is several times the cache, within bounds, and a small part of the memory where that is known."""
    assert array_bytes(32 << 20, 8 << 30, 8) == 128 << 20
    assert array_bytes(None, 8 << 30, 8) == 64 << 20
    assert array_bytes(1 << 30, 64 << 30, 8) == 512 << 20
    assert array_bytes(32 << 20, 256 << 20, 8) == 32 << 20
    assert array_bytes(32 << 20, 0, 8) == 128 << 20


def test_all_take_turns() -> None:
    """Each call gets its turn in every round, and the fastest of its times counts."""
    order: list[str] = []
    timed = {(name, 0): lambda name=name: order.append(name) for name in ("a", "b")}
    best = fastest(timed, 2, 1e-4)
    assert [name for index, name in enumerate(order) if index == 0 or order[index - 1] != name] == ["a", "b"] * 2
    assert all(0 <= seconds < 1 for seconds in best.values())
