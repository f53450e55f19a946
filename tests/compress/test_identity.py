"""What decides the key of an artifact."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from autoopt.compress.identity import identity, versions
from autoopt.workloads.loading import load_workload
from tests import tiny


def built(width: int) -> Any:
    """Never called: only where it stands and what it is given count."""
    raise AssertionError(width)


def test_the_code_and_its_arguments_decide(tmp_path: Path) -> None:
    """Another file that builds the network, or the same one with other arguments, is another identity."""
    workload = load_workload(tiny.SOURCE, None, tmp_path)
    own = identity(workload)
    assert own == identity(load_workload(tiny.SOURCE, None, tmp_path)) and own["code"]
    narrow, wide = (identity(replace(workload, build=partial(built, width=width))) for width in (1, 2))
    assert narrow["code"] == wide["code"] != own["code"]
    assert narrow["arguments"] != wide["arguments"]


def test_a_finished_graph_is_its_file(tmp_path: Path) -> None:
    """What counts of it is what the file holds, not what it is called."""
    for name, content in (("a.onnx", b"one"), ("b.onnx", b"one"), ("c.onnx", b"two")):
        (tmp_path / name).write_bytes(content)
    workload = load_workload(tiny.SOURCE, None, tmp_path)
    a, b, c = (
        identity(replace(workload, build=None, graph=tmp_path / name)) for name in ("a.onnx", "b.onnx", "c.onnx")
    )
    assert a == b != c


def test_a_package_that_is_not_there_counts_as_such() -> None:
    """It has no version; whoever needs it says so."""
    found = versions(("numpy", "no-such-package"))
    assert found["numpy"] and found["no-such-package"] is None
