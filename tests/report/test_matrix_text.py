"""The matrix as CSV, as tables and as a page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.compress.matrix import REFUSED, SAME, WORKS, Cell
from autoopt.measure.host import current_host
from autoopt.report import matrix_text
from autoopt.workloads.networks.families import NETS

PAGE = Path(__file__).parents[2] / "docs" / "matrix.md"
CELLS = [
    Cell("A", "CNN", "float", "openvino", WORKS),
    Cell("A", "CNN", "BF16", "openvino", SAME, "openvino has no BF16 arithmetic on this CPU"),
    Cell("A", "CNN", "INT8", "openvino", WORKS, "", 1.75, 31.4),
    Cell("A", "CNN", "INT4 weights", "openvino", REFUSED, "no | layers"),
    Cell("A", "CNN", "float", "torch", WORKS),
    Cell("A", "CNN", "INT8", "torch", SAME, "PyTorch runs the network"),
]


def test_what_was_not_run_says_so() -> None:
    """A network without a cell for a technique that others have keeps its other cells in their columns."""
    text = matrix_text.as_markdown([*CELLS, Cell("B", "CNN", "INT8", "openvino", WORKS, "", None, 20.0)])
    assert "| B | not run | 20 dB | not run |" in text


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


def test_the_committed_page_explains_its_cells_as_this_version_does() -> None:
    """The text above the tables of docs/matrix.md is what the command writes today, but for the host."""
    host = replace(current_host(), cores=2)
    written = matrix_text.as_page(CELLS, host).partition(host.cpu)[0]
    assert PAGE.read_text().startswith(written)
