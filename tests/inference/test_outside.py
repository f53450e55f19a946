"""Formats and runtimes from outside the package: one file and one line of a table each, and everything takes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoopt.compress import matrix, quantize
from autoopt.compress.export import form_of
from autoopt.compress.maker import Maker
from autoopt.core.configuration import RuntimeSettings
from autoopt.core.host import Host
from autoopt.core.store import Store
from autoopt.inference.formats import FORMATS, caller, format_of
from autoopt.inference.runtimes import RUNTIMES, can_run
from autoopt.study.space import load_space, seeds
from autoopt.testing import FormatContract, RuntimeContract
from autoopt.workloads.loading import load_workload
from tests import tiny

for library in ("torch", "onnx", "onnxruntime", "openvino", "nncf"):
    pytest.importorskip(library)


@pytest.fixture(autouse=True)
def _lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for each."""
    monkeypatch.setitem(FORMATS, "toy", "tests.extension.toy_format")
    monkeypatch.setitem(RUNTIMES, "toy", "tests.extension.toy_runtime")
    monkeypatch.setitem(RUNTIMES, "qdq", "tests.extension.qdq_runtime")


class TestToyFormat(FormatContract):
    """A format from outside keeps the contract."""

    name = "toy"


class TestToyRuntime(RuntimeContract):
    """A runtime from outside keeps the contract."""

    name = "toy"


class TestQdqRuntime(RuntimeContract):
    """A runtime from outside that takes a format of the package keeps the contract."""

    name = "qdq"


def test_a_format_from_outside_is_exported_by_the_maker(tmp_path: Path) -> None:
    """The maker process knows the added lines: it makes the parent, then the graph, and checks it like any other."""
    workload = load_workload(tiny.SOURCE, None, tmp_path)
    weights = tiny.weights(tmp_path / "tiny.safetensors")
    wanted = form_of(RuntimeSettings({"name": "toy", "precision": "bf16"}))
    host = Host("a cpu", "x86_64", 2, 8 << 30, ("avx2",), "Linux")
    with Maker(workload, weights, Store(tmp_path / "store"), host) as maker:
        maker.begin_export(*wanted)  # begins nothing: its parent comes first
        made = maker.export(*wanted)
        assert maker.made == {"export": 2}
    assert (format_of(made.path), made.report["precision"], made.report["cost"]) == ("toy", "f32", None)
    assert made.report["max_error"] <= made.report["tolerance"]
    assert caller(made.path)(np.zeros(tiny.PIPELINE.input_shape, np.float32)).shape == tiny.PIPELINE.output_shape


def test_what_a_runtime_takes_is_made_for_it(host: Host) -> None:
    """A runtime that says it takes integers in ONNX graphs gets them by the tools that make them, and no others."""
    settings = quantize.canonical({"tool": "onnxruntime"}, {"name": "qdq"}, host)
    assert settings == quantize.canonical({"tool": "onnxruntime"}, {"name": "onnxruntime"}, host)
    assert settings is not None and settings["tool"] == "onnxruntime"
    assert quantize.canonical({"scheme": "int4-weights"}, {"name": "qdq"}, host) is None


def test_a_runtime_whose_format_no_tool_reads_is_not_quantized(host: Host) -> None:
    """It may say what it likes: where no tool makes such graphs the configuration is the float one."""
    assert quantize.canonical({}, {"name": "toy"}, host) is None


def test_runtimes_from_outside_have_seeds(host: Host, tmp_path: Path) -> None:
    """A space may name them: they come after those of the package, with all that they take, and the matrix has them."""
    (tmp_path / "space.yaml").write_text(
        "runtime: {name: [qdq, toy, openvino], precision: [f32, bf16]}\nquantize: {scheme: [null, int8]}\n"
    )
    found = seeds(load_space(tmp_path / "space.yaml", host))
    labels = ["torch f32", "openvino f32", "openvino int8", "toy f32", "qdq f32", "qdq int8"]
    assert [seed.label for seed in found] == labels
    assert matrix.executing() == ["openvino", "onnxruntime", "torch", "toy", "qdq"]


def test_a_finished_graph_runs_where_its_format_can_hold_it(host: Host, tmp_path: Path) -> None:
    """What is made from ONNX takes a finished ONNX file, so a space keeps its runtime; that of PyTorch goes."""
    assert [name for name in RUNTIMES if can_run(name, Path("net.onnx"))] == [
        "openvino",
        "onnxruntime",
        "fake",
        "toy",
        "qdq",
    ]
    (tmp_path / "space.yaml").write_text("runtime: {name: [toy, torch]}\n")
    graph = replace(tiny.workload(), build=None, graph=Path("net.onnx"))
    assert load_space(tmp_path / "space.yaml", host, graph).without == ("torch",)
