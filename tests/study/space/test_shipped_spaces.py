"""The spaces that come with autoopt, read with the real steps and runtimes."""

from __future__ import annotations

import pytest

from autoopt.compress import STEPS, step
from autoopt.core.host import Host
from autoopt.inference.runtimes import runtime
from autoopt.study.short_names import describe
from autoopt.study.space import load_space, seeds, shipped_spaces

AVX2 = Host("a cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {})
AMX = Host("another", "x86_64", 4, 8_000_000_000, ("amx_bf16", "amx_fp16", "avx2", "avx512_bf16"), "Linux", {})
ARM = Host("a third", "aarch64", 4, 8_000_000_000, ("asimdhp", "bf16"), "Linux", {})


def test_all_are_there() -> None:
    """The shipped spaces are found by name, each with one line on what it is for."""
    found = shipped_spaces()
    assert {"default", "histo", "quick"} <= set(found)
    assert all(text and "\n" not in text for text in found.values())


@pytest.mark.parametrize("host", [AVX2, AMX, ARM], ids=["avx2", "amx", "arm"])
@pytest.mark.parametrize("name", ["default", "histo", "quick", "cpu-full"])
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
    """On a small host the quick space is a dozen points, the default some hundred, the one for histo more."""
    sizes = {name: load_space(name, AVX2).count() for name in ("quick", "default", "histo")}
    assert all(count.exact for count in sizes.values())
    assert sizes["quick"].n <= 16 < 200 < sizes["default"].n < sizes["histo"].n < 1000


@pytest.mark.parametrize("name", ["histo", "cpu-full"])
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
