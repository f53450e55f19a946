"""The spaces that come with autoopt, read with the real steps and runtimes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.compress import STEPS, step
from autoopt.core.host import Host
from autoopt.errors import SpaceError
from autoopt.inference.runtimes import runtime
from autoopt.study.short_names import describe
from autoopt.study.space import load_space, seeds, shipped_spaces
from autoopt.workloads.loading import BUILT_IN
from tests import tiny

AVX2 = Host("a cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {})
AMX = Host("another", "x86_64", 4, 8_000_000_000, ("amx_bf16", "amx_fp16", "avx2", "avx512_bf16"), "Linux", {})
ARM = Host("a third", "aarch64", 4, 8_000_000_000, ("asimdhp", "bf16"), "Linux", {})


def test_all_are_there() -> None:
    """The shipped spaces are found by name, each with one line on what it is for."""
    found = shipped_spaces()
    assert {"default", "histo", "quick"} <= set(found)
    assert all(text and "\n" not in text for text in found.values())


@pytest.mark.parametrize("host", [AVX2, AMX, ARM], ids=["avx2", "amx", "arm"])
@pytest.mark.parametrize("name", ["default", "int8", "quick", "cpu-full"])
def test_canonical_forms_are_fixed_points(name: str, host: Host) -> None:
    """What a real runtime or step calls canonical stays as it is when asked again, and every point is found again."""
    space = load_space(name, host)
    for index, (_, configuration) in enumerate(space.points()):
        sections = configuration.sections()
        executed = sections["runtime"]
        assert executed is not None
        assert {"name": executed["name"], **runtime(str(executed["name"])).canonical(executed, host)} == executed
        for step_name in STEPS:
            settings = sections.get(step_name)
            assert settings is None or step(step_name).canonical(settings, executed, host) == settings
        if index % 40 == 0:
            raw = space.raw_for(configuration)
            assert raw is not None and space.canonical(raw) == configuration


def test_sizes() -> None:
    """On a small host the quick space is a dozen points, all others some hundred."""
    sizes = {name: load_space(name, AVX2).count() for name in shipped_spaces()}
    assert all(count.exact for count in sizes.values())
    assert sizes.pop("quick").n <= 16
    assert all(150 < count.n < 3000 for count in sizes.values())


FIVE = ("quantize.scheme", "quantize.ignored_layers", "prune.ratio", "runtime.precision", "runtime.threads")


@pytest.mark.parametrize("name", ["default", *sorted(BUILT_IN)])
def test_what_is_searched_when_nothing_is_said(name: str) -> None:
    """The default of every workload varies scheme, ignored layers, pruning ratio, precision and thread count."""
    space = load_space(name, AVX2)
    assert [key for key in FIVE if (dimension := space.dimension(key)) is None or dimension.fixed] == []


def test_a_finished_graph_is_not_trained(tmp_path: Path) -> None:
    """Shipped spaces leave out for it what trains, which is told in a sentence; a file of one's own is refused."""
    workload = replace(tiny.workload(), build=None, graph=tmp_path / "net.onnx")
    remarks: list[str] = []
    space = load_space("default", AVX2, workload, on_remark=remarks.append)
    assert {item.section for item in space.dimensions} == {"quantize", "runtime"}
    assert len(remarks) == 1 and "resolution, prune, factorize of the space default are left out" in remarks[0]
    schemes = space.dimension("quantize.scheme")
    assert schemes is not None and schemes.choices == (None, "int8")
    own = tmp_path / "own.yaml"
    own.write_text("prune: {ratio: 0.5}\nquantize: {scheme: [int8, int8-qat]}\nruntime: {name: openvino}\n")
    with pytest.raises(SpaceError) as caught:
        load_space(own, AVX2, workload)
    assert "prune: must be left out: tiny is a finished graph" in str(caught.value)
    assert "quantize.scheme: must not have int8-qat: tiny is a finished graph" in str(caught.value)


@pytest.mark.parametrize("name", ["default", "int8", "cpu-full"])
def test_names_tell_points_apart(name: str) -> None:
    """No two points of a space have the same short name in a table."""
    names = [describe(configuration) for _, configuration in load_space(name, AVX2).points()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("host", "labels"),
    [
        (AVX2, ["torch f32", "openvino f32", "openvino int8", "onnxruntime f32", "onnxruntime int8"]),
        (
            AMX,
            [
                "torch f32",
                "openvino f32",
                "openvino bf16",
                "openvino f16",
                "openvino int8",
                "onnxruntime f32",
                "onnxruntime int8",
                "torch bf16",
            ],
        ),
    ],
    ids=["avx2", "amx"],
)
def test_seeds(host: Host, labels: list[str]) -> None:
    """The default space starts with the references and plain INT8, with low precision only where the CPU has it."""
    found = seeds(load_space("default", host))
    assert [seed.label for seed in found] == labels
    assert all(seed.raw is not None for seed in found)
    assert {seed.configuration.runtime["threads"] for seed in found} == {host.cores}


def test_calls_have_no_case_to_cut(tmp_path: Path) -> None:
    """What a shipped space says of whole cases is left out, and told, where a workload times calls."""
    remarks: list[str] = []
    space = load_space("nnunet", AVX2, tiny.workload(), on_remark=remarks.append)
    assert "pipeline" not in {item.section for item in space.dimensions}
    assert len(remarks) == 1 and "pipeline of the space nnunet does not change" in remarks[0]
    whole = load_space("nnunet", AVX2, tiny.whole_cases(), on_remark=remarks.append)
    assert "pipeline" in {item.section for item in whole.dimensions} and len(remarks) == 1
