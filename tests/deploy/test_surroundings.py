"""In what a machine differs from the one of a bundle: in words, and whatever the bundle holds."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.deploy.surroundings import (
    host_differences,
    precision_difference,
    setting_differences,
    version_differences,
)
from tests.deploy.studies import HOST

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
"""What may stand in a bundle.json."""


def test_one_host_has_no_differences() -> None:
    """A host is like itself, also with other memory; what a bundle does not tell is no difference."""
    told = {**asdict(HOST), "isa": list(HOST.isa)}

    assert host_differences(told, HOST) == []
    assert host_differences(told, replace(HOST, memory_bytes=1)) == []
    assert host_differences(None, HOST) == host_differences({}, HOST) == []


def test_every_difference_of_a_host_is_a_sentence() -> None:
    """Processor, cores and instruction sets that are missing or more are told each."""
    told = {**asdict(HOST), "isa": ["avx2", "amx_int8"]}
    found = host_differences(told, replace(HOST, cpu="b cpu", cores=64, isa=("avx2", "avx_vnni")))

    assert found == [
        "cpu is 'b cpu', there it was 'a cpu'",
        "cores is 64, there it was 2",
        "the instruction sets amx_int8 are missing",
        "there are the further instruction sets avx_vnni",
    ]


def test_versions_differ_by_name() -> None:
    """A library of another version, and one that is not installed, are told; those that nobody asked for are not."""
    told = {"numpy": "2.4", "openvino": "2026.4", "torch": "2"}
    here = {"numpy": "2.5", "torch": "3"}

    assert version_differences(told, here, ["numpy", "openvino"]) == [
        "numpy is 2.5, there it was 2.4",
        "openvino is not installed, there it was 2026.4",
    ]


@pytest.mark.parametrize(
    ("told", "now", "words"),
    [
        ({"precision": "f32"}, {"precision": "f32"}, ""),
        ({"precision": "f32"}, {"precision": "bf16"}, "really runs in 'bf16'"),
        ({"precision": "f32", "low_precision_share": 0.6}, {"precision": "f32", "low_precision_share": 0.0}, "60%"),
        ({"precision": "f32", "low_precision_share": 0.6}, {"precision": "f32", "low_precision_share": 0.2}, ""),
        ({"precision": "f32", "low_precision_share": 0.6}, {"precision": "f32", "low_precision_share": None}, ""),
        ({"precision": None}, {"precision": "f32"}, ""),
    ],
)
def test_a_precision_is_what_really_runs(told: dict[str, Any], now: dict[str, Any], words: str) -> None:
    """Another precision is told, also where an integer model runs in float only; what is not known is no difference."""
    found = precision_difference(told, now)

    assert words in found and bool(words) == bool(found)


@given(told=PLAIN, inside=st.dictionaries(st.sampled_from(["cpu", "isa", "precision", "threads", "numpy"]), PLAIN))
def test_odd_values_are_short_sentences(told: Any, inside: dict[str, Any]) -> None:
    """Whatever a bundle.json has in their place, the answers are a few short sentences and never an error."""
    for value in (told, inside):
        found = [
            *host_differences(value, HOST),
            *version_differences(value, {"numpy": "2"}, ["numpy"]),
            precision_difference(value, {"precision": "f32", "low_precision_share": 0.0}),
            *setting_differences(value, {"threads": 2}),
        ]
        assert all(len(text) < 2000 for text in found)
