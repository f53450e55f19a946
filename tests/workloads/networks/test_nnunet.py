"""The U-Nets of nnU-Net are those of dynamic_network_architectures; nothing that plans name is looked up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt.errors import WorkloadError
from autoopt.workloads.networks.nnunet import build_folds, build_nnunet
from autoopt.workloads.networks.nnunet_shape import read_shape
from tests.golden import make_nnunet as golden

EXPECTED = json.loads((Path(golden.HERE) / golden.NETS).read_text())


@pytest.mark.parametrize("name", golden.CASES)
def test_networks_are_those_of_nnunet(name: str) -> None:
    """Names and shapes of all weights are the same, in the same order, and so is the answer for the same weights."""
    kind, settings = golden.CASES[name]
    shape = read_shape(f"dynamic_network_architectures.architectures.unet.{kind}", settings, "plans.json")
    net = golden.fill(build_nnunet(shape, golden.CHANNELS, golden.CLASSES))
    with torch.inference_mode():
        output = net(golden.image(shape.dimensions))
    assert len(net.state_dict()) == EXPECTED[name]["count"]
    assert golden.names_digest(net) == EXPECTED[name]["names"]
    assert golden.some(output) == pytest.approx(EXPECTED[name]["answer"], abs=1e-5)


def test_folds_answer_with_their_mean() -> None:
    """The network of several folds answers with the mean of the logits of its members."""
    kind, settings = golden.CASES["plain 2D, batch norm, dropout"]
    net = golden.fill(build_folds(read_shape(kind, settings, "plans.json"), 2, 3, folds=3))
    image = golden.image(2)
    with torch.inference_mode():
        each = torch.stack([net.get_submodule(f"members.{fold}")(image) for fold in range(3)])
        assert torch.allclose(net(image), each.mean(0), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"conv_op": "os.system"}, "conv_op must be one of torch.nn's"),
        ({"nonlin": "torch.nn.modules.linear.Linear"}, "nonlin must be one of torch.nn's"),
        ({"norm_op": "torch.nn.BatchNorm2d"}, "for 3D as conv_op is"),
        ({"norm_op_kwargs": {"eps": [1]}}, "norm_op_kwargs must be numbers or flags"),
        ({"features_per_stage": [4, 6]}, "features_per_stage must have 3 numbers"),
        ({"features_per_stage": [4, 6, 10**9]}, "at most 4096"),
        ({"strides": [[1], [2], [2]]}, "strides must have 3 numbers"),
        ({"nonlin_first": True}, "['nonlin_first'] cannot be built here"),
        ({"n_stages": 10**6}, "n_stages must be at most"),
    ],
)
def test_odd_arguments_are_refused(changes: dict[str, Any], said: str) -> None:
    """A layer, number or argument that nnU-Net's plans do not have is refused by its name, nothing is imported."""
    kind, settings = golden.CASES["plain 3D"]
    with pytest.raises(WorkloadError) as caught:
        read_shape(kind, {**settings, **changes}, "plans.json")
    assert said in str(caught.value) and "plans.json" in str(caught.value)


def test_other_networks_are_refused_by_name() -> None:
    """A network that is none of the two is refused by its name."""
    with pytest.raises(WorkloadError, match="'Primus'"):
        read_shape("dynamic_network_architectures.architectures.primus.Primus", {}, "plans.json")
