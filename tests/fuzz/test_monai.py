"""Configurations of MONAI bundles of any kind are read, or refused as workloads, in little time and memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.probe import ACCEPTED, REFUSED, Probe
from tests.fuzz.strategies import altered, damaged, doubling, examples, nested

Probes = Callable[[str], Probe]
NETWORK = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8],
    "strides": [2],
}
CONFIG: dict[str, Any] = {
    "bundle_root": ".",
    "roi": [16, 16, 16],
    "network_def": NETWORK,
    "network": "$@network_def.to('cpu')",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "Orientationd", "keys": ["image"], "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": ["image"], "pixdim": [1.0, 1.0, 2.0], "mode": "bilinear"},
            {
                "_target_": "ScaleIntensityRanged",
                "keys": "image",
                "a_min": -57,
                "a_max": 164,
                "b_min": 0.0,
                "b_max": 1.0,
                "clip": True,
            },
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": "@roi", "overlap": 0.5, "sw_batch_size": 4},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "AsDiscreted", "keys": ["pred", "label"], "argmax": [True, False]},
        ],
    },
}
METADATA: dict[str, Any] = {
    "version": "0.1.0",
    "network_data_format": {
        "inputs": {"image": {"num_channels": 1}},
        "outputs": {"pred": {"num_channels": 2, "channel_def": {"0": "background", "1": "spleen"}}},
    },
}
HUGE = 10**9


def changed(**changes: Any) -> str:
    return json.dumps({**CONFIG, **changes})


def tree(levels: int) -> dict[str, Any]:
    """Keys of which each refers twice to the next: a small file that stands for 2 to the power of `levels` values."""
    return {f"k{level}": [f"@k{level + 1}", f"@k{level + 1}"] for level in range(levels)} | {f"k{levels}": 1}


BAD: dict[str, tuple[str, str]] = {
    "references to themselves": ("json", changed(network_def="@network_def")),
    "references in a circle": ("json", changed(network_def="@a", a="@b", b="@a")),
    "a circle through parts": ("json", changed(network_def={**NETWORK, "act": "@network_def"})),
    "transforms that hold themselves": (
        "json",
        changed(preprocessing={"_target_": "Compose", "transforms": "@preprocessing"}),
    ),
    "transforms that hold themselves in a list": (
        "json",
        changed(preprocessing=["@preprocessing", "@preprocessing"]),
    ),
    "transforms that explode": ("json", changed(**tree(40), preprocessing="@k0")),
    "a tree that explodes": ("json", changed(**tree(40), network_def={**NETWORK, "act": "@k0"})),
    "a tree in an argument": ("json", changed(**tree(40), inferer={**CONFIG["inferer"], "overlap": "@k0"})),
    "a tree in keys": ("json", changed(**tree(40), preprocessing=[{"_target_": "LoadImaged", "keys": "@k0"}])),
    "a deep file": ("json", nested(100_000)),
    "a deep file of keys": ("json", '{"a":' * 50_000 + "1" + "}" * 50_000),
    "a deep network": ("json", '{"network_def": ' + '{"_target_": "UNet", "a": ' * 500 + "1" + "}" * 501),
    "deep transforms": ("json", changed(preprocessing="@deep")[:-1] + ', "deep": ' + nested(500) + "}"),
    "aliases that double": ("yaml", doubling(40) + "network_def: *x39\n"),
    "aliases that double beside it": (
        "yaml",
        doubling(40) + f"network_def: {json.dumps(NETWORK)}\npreprocessing: *x39\n",
    ),
    "an alias of itself": ("yaml", "network_def: &n {_target_: UNet, a: *n}\n"),
    "deep YAML": ("yaml", nested(100_000)),
    "a python object": ("yaml", "network_def: !!python/object/apply:os._exit [1]\n"),
    "an odd date": ("yaml", "network_def: 2020-13-45\n"),
    "an odd integer": ("yaml", "network_def: !!int ''\n"),
    "a list": ("json", "[1]"),
    "a large file": ("json", '{"a": "' + "x" * 20_000_000 + '"}'),
    "many values": ("json", '{"network_def": [' + "1," * 7_000_000 + "1]}"),
    "many lists": ("json", '{"network_def": [' + "[]," * 5_000_000 + "1]}"),
    "a long target": ("json", changed(network_def={**NETWORK, "_target_": "a." * 100_000 + "b"})),
    "a reference to everything": ("json", changed(network_def="@")),
    "a number of many digits": ("json", '{"network_def": ' + "9" * 5000 + "}"),
}


def tried(probe: Probe, kind: str, text: str | bytes, metadata: str | bytes = json.dumps(METADATA)) -> str:
    with TemporaryDirectory() as folder:
        configs = Path(folder) / "configs"
        configs.mkdir()
        for name, content in ((f"inference.{kind}", text), ("metadata.json", metadata)):
            (configs / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        outcome = probe(Path(folder))
    assert outcome.good, outcome
    return outcome.kind


def test_a_whole_configuration_is_read(probe: Probes) -> None:
    """The configuration that all others here are made of can be used, as JSON and as YAML."""
    assert tried(probe("monai"), "json", changed()) == ACCEPTED
    assert tried(probe("monai"), "yaml", changed()) == ACCEPTED


@pytest.mark.parametrize("name", BAD)
def test_a_configuration_that_cannot_be_used_is_refused(probe: Probes, name: str) -> None:
    """A configuration that refers to itself, explodes, or is deep or large is refused in words."""
    assert tried(probe("monai"), *BAD[name]) == REFUSED


@pytest.mark.parametrize("name", ["a deep file", "many lists", "a list", "a large file"])
def test_metadata_that_cannot_be_used_are_refused(probe: Probes, name: str) -> None:
    """Metadata that are deep or large are refused in words."""
    assert tried(probe("monai"), "json", changed(), BAD[name][1]) == REFUSED


@examples(100)
@given(document=altered(CONFIG), metadata=altered(METADATA))
def test_a_configuration_of_odd_values_is_read_or_refused(probe: Probes, document: Any, metadata: Any) -> None:
    """A configuration with odd values in any place is read, or refused."""
    tried(probe("monai"), "json", json.dumps(document), json.dumps(metadata))


@examples(40)
@given(text=damaged(changed().encode()), kind=st.sampled_from(["json", "yaml"]))
def test_a_damaged_configuration_is_read_or_refused(probe: Probes, text: bytes, kind: str) -> None:
    """A configuration with any bytes changed is read, or refused."""
    tried(probe("monai"), kind, text)
