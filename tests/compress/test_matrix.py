"""The matrix of techniques, networks and runtimes."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from autoopt.compress import matrix
from autoopt.compress.matrix import FAILED, REFUSED, SAME, WORKS
from autoopt.testing import workload_problems
from autoopt.workloads.loading import load_workload
from autoopt.workloads.networks.families import NETS, SOURCE

COMMITTED = Path(__file__).parents[2] / "docs" / "matrix.csv"
ALIKE = ("float", "half resolution", "pruned", "low rank")
"""In float all runtimes compute the same, whatever was done to the network."""
TRIED = ("float", "INT8")
"""The others take minutes, and have tests of their own."""
UNTIMED_NETS, UNTIMED_TECHNIQUES = ("S4D",), ("distilled", "INT8, learnt clipping")
"""What came later than the table was made, on a host that was not left alone: nothing, once it is made anew."""


def test_the_quick_part_is_as_the_table_says(tmp_path: Path) -> None:
    """One network of each family: what works, is refused or has no effect is what is committed, and no cell fails."""
    for library in ("torch", "onnx", "onnxruntime", "openvino", "nncf"):
        pytest.importorskip(library)
    with COMMITTED.open(newline="") as stream:
        committed = {(row["net"], row["technique"], row["runtime"]): row for row in csv.DictReader(stream)}
    found = matrix.matrix(techniques=TRIED, quick=True, timed=False, home=tmp_path)
    assert len(found) == 4 * len(TRIED) * len(matrix.executing())
    for cell in found:
        row = committed[cell.net, cell.technique, cell.runtime]
        assert cell.status != FAILED, cell
        assert (cell.status, cell.reason) == (row["status"], row["reason"]), cell
        if cell.technique in ALIKE and cell.agreement_db is not None:
            assert cell.agreement_db > 60, cell


def test_the_committed_table_has_no_gaps() -> None:
    """One network of each family has each technique, all that is in it was tried in each runtime, and none failed."""
    with COMMITTED.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    tried = {(row["net"], row["technique"]) for row in rows}
    first = {net.family: name for name, net in reversed(NETS.items())}
    assert {(net, technique) for net in first.values() for technique in matrix.TECHNIQUES} <= tried
    cells = {(row["net"], row["technique"], row["runtime"]) for row in rows}
    assert len(rows) == len(cells) == len(tried) * len(matrix.executing())
    for row in rows:
        assert row["status"] in (WORKS, SAME, REFUSED), row
        assert bool(row["reason"]) != (row["status"] == WORKS), row
        timed = row["technique"] not in (matrix.FLOAT, *UNTIMED_TECHNIQUES) and row["net"] not in UNTIMED_NETS
        assert bool(row["speed_up"]) == (row["status"] == WORKS and timed), row


@pytest.mark.parametrize("net", NETS)
def test_every_network_is_a_workload(net: str, tmp_path: Path) -> None:
    """The networks of the matrix keep the contract of workloads, with random weights."""
    pytest.importorskip("torch")
    workload = load_workload(SOURCE, None, tmp_path, {"net": net})
    assert workload.demo
    assert workload_problems(workload) == []
