"""The matrix of techniques, networks and runtimes."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.compress import matrix
from autoopt.compress.matrix import FAILED, REFUSED, SAME, WORKS, Cell
from autoopt.measure.host import current_host
from autoopt.report import matrix_text
from autoopt.testing import workload_problems
from autoopt.workloads.loading import load_workload
from autoopt.workloads.networks.families import NETS, SOURCE

COMMITTED = Path(__file__).parents[2] / "docs" / "matrix.csv"
ALIKE = ("float", "half resolution", "pruned", "low rank")
"""In float all runtimes compute the same, whatever was done to the network."""
TRIED = ("float", "BF16", "INT8", "INT4 weights")
"""The others take minutes, and have tests of their own."""
CELLS = [
    Cell("A", "CNN", "float", "openvino", WORKS),
    Cell("A", "CNN", "BF16", "openvino", SAME, "openvino has no BF16 arithmetic on this CPU"),
    Cell("A", "CNN", "INT8", "openvino", WORKS, "", 1.75, 31.4),
    Cell("A", "CNN", "INT4 weights", "openvino", REFUSED, "no | layers"),
    Cell("A", "CNN", "float", "torch", WORKS),
    Cell("A", "CNN", "INT8", "torch", SAME, "PyTorch runs the network"),
]


def test_the_quick_part_is_as_the_table_says(tmp_path: Path) -> None:
    """One network of each family: what works, is refused or has no effect is what is committed, and no cell fails."""
    for library in ("torch", "onnx", "onnxruntime", "openvino", "nncf"):
        pytest.importorskip(library)
    with COMMITTED.open(newline="") as stream:
        committed = {(row["net"], row["technique"], row["runtime"]): row for row in csv.DictReader(stream)}
    found = matrix.matrix(techniques=TRIED, quick=True, timed=False, home=tmp_path)
    assert len(found) == 3 * len(TRIED) * len(matrix.RUNTIMES)
    for cell in found:
        row = committed[cell.net, cell.technique, cell.runtime]
        assert cell.status != FAILED, cell
        if cell.technique not in ("BF16", "F16"):
            assert (cell.status, cell.reason) == (row["status"], row["reason"]), cell
        elif not _has_half_precision():
            assert cell.status == SAME
        if cell.technique in ALIKE and cell.agreement_db is not None:
            assert cell.agreement_db > 60, cell


def test_the_committed_table_has_no_gaps() -> None:
    """Every network in it has a cell for each technique and runtime, all that works was timed, and none failed."""
    with COMMITTED.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    nets = {row["net"] for row in rows}
    assert {NETS[net].family for net in nets} == {net.family for net in NETS.values()}
    cells = {(row["net"], row["technique"], row["runtime"]) for row in rows}
    assert len(rows) == len(cells) == len(nets) * len(matrix.TECHNIQUES) * len(matrix.RUNTIMES)
    for row in rows:
        assert row["status"] in (WORKS, SAME, REFUSED), row
        assert bool(row["reason"]) != (row["status"] == WORKS), row
        assert bool(row["speed_up"]) == (row["status"] == WORKS and row["technique"] != matrix.FLOAT), row


@pytest.mark.parametrize("net", NETS)
def test_every_network_is_a_workload(net: str, tmp_path: Path) -> None:
    """The networks of the matrix keep the contract of workloads, with random weights."""
    pytest.importorskip("torch")
    workload = load_workload(SOURCE, None, tmp_path, {"net": net})
    assert workload.demo
    assert workload_problems(workload) == []


def test_tables_say_what_is_refused_and_why() -> None:
    """A cell has its speed-up and agreement, or the number of a reason below; what has no effect anywhere is a line."""
    text = matrix_text.as_markdown(CELLS)
    assert "| A | = | 1.8x 31 dB | refused (1) |" in text
    assert "No effect: BF16 (openvino has no BF16 arithmetic on this CPU)." in text
    assert "1. no | layers" in text and "no effect" not in text
    assert matrix_text.as_csv(CELLS).splitlines()[3] == "A,CNN,INT8,openvino,works,1.75,31.4,"


@pytest.mark.parametrize("quick", [True, False])
def test_the_page_has_its_command_its_counts_and_what_is_not_in_it(quick: bool) -> None:
    """A page that was made of some networks names the others, and the command that it came from."""
    host, (first, *others) = current_host(), NETS
    page = matrix_text.as_page([replace(cell, net=first) for cell in CELLS], host, quick=quick)
    assert ("autoopt matrix --quick --markdown" in page) == quick
    assert f"{host.cpu}; " in page
    assert f"6 cells: 3 works, 2 no effect, 1 refused, 0 failed. Not in it: {', '.join(others)}." in page
    whole = matrix_text.as_page([replace(CELLS[0], net=net) for net in NETS], host)
    assert "Not in it" not in whole


def _has_half_precision() -> bool:
    return any("bf16" in name or "fp16" in name for name in current_host().isa)
