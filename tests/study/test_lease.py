"""The lease of a study in a storage that several machines share."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import pytest

from autoopt.errors import BusyError, StorageError, UsageError
from autoopt.study.lease import DEAD_S, Lease, last_sign_of_life


class Cell:
    """One value of a storage that lists what was written."""

    def __init__(self, value: Mapping[str, Any] | None = None) -> None:
        self.value = value
        self.written: list[Mapping[str, Any]] = []

    def read(self) -> Mapping[str, Any] | None:
        return self.value

    def write(self, value: Mapping[str, Any]) -> None:
        self.value = value
        self.written.append(value)


def lease(cell: Cell, beat_s: float = 60.0) -> Lease:
    return Lease("s", cell.read, cell.write, beat_s=beat_s)


def test_a_lease_is_held_and_given_back() -> None:
    """While a search runs the storage says who holds the study; afterwards when it ended."""
    cell, before = Cell(), time.time()
    with lease(cell):
        assert cell.value is not None
        assert (cell.value["machine"], cell.value["pid"]) == (socket.gethostname(), os.getpid())
        assert cell.value["at"] >= before
    assert cell.value["at"] == 0.0
    assert last_sign_of_life(cell.value) >= before


def test_a_lock_of_all_machines_is_believed_before_a_lease() -> None:
    """Where such a lock has decided, who was seen a moment ago elsewhere is dead; its own writes are refused then."""
    cell = Cell({"machine": "elsewhere", "pid": 7, "at": time.time(), "token": "its own"})
    with Lease("s", cell.read, cell.write, beat_s=60.0, decided=True) as held:
        held.check()
        assert cell.value is not None and cell.value["machine"] == socket.gethostname()


def test_what_ended_a_search_is_told_not_that_its_storage_is_away() -> None:
    """A lease that cannot be given back hides no error; where there was none it says so itself."""
    for ended_by, told in ((BusyError("taken over"), "taken over"), (None, "away")):
        cell, away = Cell(), list[bool]()

        def read(cell: Cell = cell, away: list[bool] = away) -> Mapping[str, Any] | None:
            if away:
                raise StorageError("the storage is away")
            return cell.value

        def search(held: Lease, away: list[bool] = away, ended_by: Exception | None = ended_by) -> None:
            with held:
                away.append(True)
                if ended_by is not None:
                    raise ended_by

        with pytest.raises(UsageError, match=told):
            search(Lease("s", read, cell.write, beat_s=60.0))


def test_a_lease_of_another_machine_is_respected_while_it_lives() -> None:
    """A search that is alive elsewhere is named with its age; one that is silent for long is dead."""
    other = {"machine": "elsewhere", "pid": 7}
    with (
        pytest.raises(BusyError, match=r"process 7 on elsewhere \(last sign of life 30 s ago\)"),
        lease(Cell({**other, "at": time.time() - 30})),
    ):
        pass
    with lease(Cell({**other, "at": time.time() - DEAD_S - 1})):
        pass
    with lease(Cell({**other, "at": 0.0, "ended": time.time()})):
        pass


def held_here(**changes: Any) -> Cell:
    """A lease that a process of this system holds."""
    cell = Cell()
    with lease(cell):
        assert cell.value is not None
        return Cell({**cell.value, "token": "another", **changes})


def test_what_a_killed_process_left_keeps_nobody_out() -> None:
    """A process of this system that is gone holds nothing any more; one of an earlier version neither."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    with lease(held_here(pid=process.pid)):
        pass
    with lease(Cell({"machine": socket.gethostname(), "pid": 1, "at": time.time()})):
        pass


@pytest.mark.parametrize("changes", [{}, {"system": "another container"}, {"system": "another boot", "pid": 2**22 - 1}])
def test_equal_names_of_machines_are_not_enough(changes: Mapping[str, Any]) -> None:
    """A lease of a machine of this name is respected: its process runs, or it may be another machine."""
    with pytest.raises(BusyError, match="being searched by process"), lease(held_here(**changes)):
        pass


def test_a_search_that_was_taken_over_writes_no_more() -> None:
    """Whoever slept past its lease is told who took over, renews nothing and gives nothing back."""
    cell = Cell()
    with lease(cell, beat_s=0.01) as slept:
        slept.check()
        taken = {"machine": "elsewhere", "pid": 7, "token": "another", "at": time.time()}
        cell.value = taken
        with pytest.raises(BusyError, match="was taken over by process 7 on elsewhere"):
            slept.check()
        time.sleep(0.05)
    assert cell.value == taken


def test_a_lease_that_vanished_is_not_held() -> None:
    """A storage that was emptied meanwhile is not written to."""
    cell = Cell()
    with lease(cell) as held:
        cell.value = None
        with pytest.raises(BusyError, match="taken over by somebody"):
            held.check()


def test_a_lease_is_renewed_until_it_ends() -> None:
    """The beat goes on while the block runs, also after a moment in which the storage could not be used."""
    cell = Cell()
    with lease(cell, beat_s=0.01):
        _until(lambda: len(cell.written) >= 3)
    assert all(one["at"] <= other["at"] for one, other in zip(cell.written[:-2], cell.written[1:-1], strict=True))

    shaky, tried = Cell(), []

    def write(value: Mapping[str, Any]) -> None:
        tried.append(value)
        if len(tried) in (2, 3):
            raise StorageError("it is away")
        shaky.write(value)

    with Lease("s", shaky.read, write, beat_s=0.01):
        _until(lambda: len(shaky.written) >= 3)
    assert len(tried) >= 5


def test_the_last_sign_of_life() -> None:
    """The beat of a running search, the end of a finished one, nothing where there was none."""
    assert last_sign_of_life(None) == 0.0
    assert last_sign_of_life({"at": 5.0}) == 5.0
    assert last_sign_of_life({"at": 0.0, "ended": 4.0}) == 4.0
    assert last_sign_of_life({"at": 0.0}) == 0.0


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
