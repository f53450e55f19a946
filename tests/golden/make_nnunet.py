"""Make the golden files of nnU-Net; run once in an environment with nnunetv2 2.8.1: `python make_nnunet.py nets`.

nnunet-nets.json has, for some small networks of dynamic_network_architectures 0.4.4, the names and shapes of their
weights as a digest, and some numbers of their answer. The tests build the same networks and compare.
"""

from __future__ import annotations

import hashlib
import json
import pydoc
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
NETS = "nnunet-nets.json"
CHANNELS, CLASSES = 2, 3


def arguments(dimensions: int, *, residual: bool, stages: int = 3, **more: Any) -> dict[str, Any]:
    """`arch_kwargs` as plans have them, narrow."""
    blocks = {"n_blocks_per_stage": [1, 2, 2]} if residual else {"n_conv_per_stage": [2, 1, 2]}
    return {
        "n_stages": stages,
        "features_per_stage": [4, 6, 6],
        "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
        "kernel_sizes": [[1, *[3] * (dimensions - 1)], [3] * dimensions, [3] * dimensions],
        "strides": [[1] * dimensions, [1, *[2] * (dimensions - 1)], [2] * dimensions],
        **blocks,
        "n_conv_per_stage_decoder": [1, 2],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
        **more,
    }


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain 3D": ("PlainConvUNet", arguments(3, residual=False)),
    "plain 2D, batch norm, dropout": (
        "PlainConvUNet",
        arguments(
            2,
            residual=False,
            norm_op="torch.nn.BatchNorm2d",
            dropout_op="torch.nn.Dropout2d",
            dropout_op_kwargs={"p": 0.1},
            conv_bias=False,
            nonlin="torch.nn.ReLU",
        ),
    ),
    "residual 3D": ("ResidualEncoderUNet", arguments(3, residual=True)),
    "residual 2D with a stem": ("ResidualEncoderUNet", arguments(2, residual=True, stem_channels=5)),
}


def fill(model: torch.nn.Module) -> torch.nn.Module:
    """The network with weights that only depend on their names."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            random = np.random.default_rng(zlib.crc32(name.encode()))
            value.copy_(torch.from_numpy(random.normal(0, 0.4, tuple(value.shape)).astype(np.float32)))
    return model.eval()


def image(dimensions: int) -> torch.Tensor:
    random = np.random.default_rng(7)
    return torch.from_numpy(random.normal(size=(1, CHANNELS, *[8] * dimensions)).astype(np.float32))


def names_digest(model: torch.nn.Module) -> str:
    """The digest of all names and shapes, in their order."""
    named = [[name, list(value.shape)] for name, value in model.state_dict().items()]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def some(output: torch.Tensor) -> list[float]:
    """Some numbers of an answer, spread over it."""
    flat = output.flatten()
    return [float(value) for value in flat[:: max(1, flat.numel() // 24)]]


def make_nets() -> None:
    from dynamic_network_architectures.architectures import unet

    found = {}
    for name, (kind, settings) in CASES.items():
        located = {
            key: pydoc.locate(value) if key in ("conv_op", "norm_op", "dropout_op", "nonlin") and value else value
            for key, value in settings.items()
        }
        net = getattr(unet, kind)(input_channels=CHANNELS, num_classes=CLASSES, deep_supervision=False, **located)
        fill(net)
        with torch.no_grad():
            output = net(image(2 if "2D" in name else 3))
        found[name] = {"names": names_digest(net), "count": len(net.state_dict()), "answer": some(output)}
    (HERE / NETS).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    {"nets": make_nets}[sys.argv[1]]()
