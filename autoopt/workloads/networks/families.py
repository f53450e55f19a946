"""Small networks of every family with random weights and synthetic images: `autoopt matrix` tries all steps on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.core.configuration import digest
from autoopt.inference.pipeline import Pipeline
from autoopt.workloads.contract import Case, Recipe, Sample, Splits, Workload
from autoopt.workloads.networks import attention, classifiers, state_space

if TYPE_CHECKING:
    import torch

SOURCE = f"{__name__}:workload"
SERIES, PLANE, BOX = (12, 256), (3, 64, 64), (1, 32, 32, 32)
CASES = 6
"""The number of cases in each split."""


@dataclass(frozen=True)
class Net:
    """A network: its family, how it is built, its input (channels, *sizes), and whether it labels every pixel."""

    family: str
    build: Callable[[], Any]
    shape: tuple[int, ...] = PLANE
    dense: bool = True


def _monai(name: str, *settings: Any, **more: Any) -> Callable[[], torch.nn.Module]:
    def build() -> torch.nn.Module:
        from monai.networks import nets

        net: torch.nn.Module = getattr(nets, name)(*settings, **more)
        return net

    return build


CNN, TRANSFORMER = "CNN", "transformer"
LINEAR, STATES = "linear complexity", "linear complexity: state space"
NETS: Mapping[str, Net] = {
    "BasicUNet": Net(CNN, _monai("BasicUNet", 2, 3, 2, (16, 16, 32, 64, 128, 16))),
    "ViT": Net(TRANSFORMER, partial(attention.vit, 3, 2, PLANE[1:], blocks=2), dense=False),
    "LinearUNet": Net(LINEAR, partial(attention.linear_unet, 3, 2, 16)),
    "S4D": Net(STATES, partial(state_space.state_space_net, 3, 2)),
    "UNet": Net(CNN, _monai("UNet", 2, 3, 2, (16, 32, 64), (2, 2), num_res_units=2)),
    "UNet 3D": Net(CNN, _monai("UNet", 3, 1, 2, (8, 16, 32), (2, 2), num_res_units=1, norm="batch"), BOX),
    "AttentionUnet": Net(CNN, _monai("AttentionUnet", 2, 3, 2, (16, 32, 64), (2, 2))),
    "DynUNet 3D": Net(
        CNN, _monai("DynUNet", 3, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[8, 16, 32], res_block=True), BOX
    ),
    "SegResNet": Net(CNN, _monai("SegResNet", 2, 8, 3, 2, blocks_down=(1, 2, 2), blocks_up=(1, 1))),
    "FlexibleUNet": Net(CNN, _monai("FlexibleUNet", 3, 2, "efficientnet-b0", decoder_channels=(64, 32, 16, 16, 8))),
    "DenseNet": Net(
        CNN, _monai("DenseNet", 2, 3, 2, init_features=32, growth_rate=16, block_config=(2, 4, 4)), dense=False
    ),
    "EfficientNet-B0": Net(CNN, partial(classifiers.efficientnet_b0, 2), dense=False),
    "ResNet": Net(
        CNN,
        _monai("ResNet", "basic", [1, 1, 1, 1], [16, 32, 64, 128], spatial_dims=2, n_input_channels=3, num_classes=2),
        dense=False,
    ),
    "ResNet 1D": Net(
        CNN,
        _monai("ResNet", "basic", [1, 1, 1, 1], [16, 32, 64, 128], spatial_dims=1, n_input_channels=12, num_classes=2),
        SERIES,
        dense=False,
    ),
    "UNet 1D": Net(CNN, _monai("UNet", 1, 12, 2, (16, 32, 64), (2, 2), num_res_units=1, norm="batch"), SERIES),
    "VGG-11": Net(CNN, partial(classifiers.vgg11, 2), dense=False),
    "UNETR 3D": Net(
        TRANSFORMER,
        _monai("UNETR", 1, 2, BOX[1:], feature_size=8, hidden_size=96, mlp_dim=192, num_heads=4),
        BOX,
    ),
    "SwinUNETR": Net(
        TRANSFORMER,
        _monai("SwinUNETR", 3, 2, feature_size=12, spatial_dims=2, num_heads=(1, 2, 4, 8), depths=(2, 1, 1, 1)),
    ),
}
"""By name; the first of each family is the one that `autoopt matrix --quick` tries."""


def workload(data: Path | None, net: str = "BasicUNet") -> Workload:
    """The workload of one network; its cases are smooth noise, their reference is its sign. `data` is ignored."""
    chosen = NETS[net]
    channels, *sizes = chosen.shape
    splits = (tuple(_case(number * CASES + index, number, chosen) for index in range(CASES)) for number in range(4))
    return Workload(
        name=f"matrix {net}",
        task="segmentation" if chosen.dense else "classification",
        labels=("negative", "positive"),
        build=partial(_built, net),
        pipeline=Pipeline(
            task="segmentation" if chosen.dense else "classification",
            classes=2,
            channels=channels,
            tile=tuple(sizes),
            overlap=0.0,
            scale=1.0,
            mean=(0.0,) * channels,
            std=(1.0,) * channels,
        ),
        splits=Splits(*splits),
        metrics=("dice_macro",) if chosen.dense else ("accuracy",),
        recipe=Recipe(epochs=1, batch=2, learning_rate=1e-3),
        data_digest=digest({"cases": CASES, "shape": chosen.shape}),
        demo=True,
    )


def _built(net: str) -> torch.nn.Module:
    """The network with random weights, the same each time."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: torch.nn.Module = NETS[net].build()
    return model


def _case(seed: int, split: int, net: Net) -> Case:
    return Case(f"case-{seed}", f"patient-{split}-{seed}", partial(_read, seed, net))


def _read(seed: int, net: Net) -> Sample:
    channels, *sizes = net.shape
    random = np.random.default_rng(seed)
    image = random.normal(size=(*sizes, channels)).astype(np.float32)
    for axis in range(len(sizes)):  # neighbouring pixels are alike, as in pictures
        image = image + np.roll(image, 1, axis) + np.roll(image, 2, axis)
    image /= image.std()
    positive = image[..., 0] > 0
    return Sample(image, positive.astype(np.int64) if net.dense else np.asarray(int(positive.mean() > 0.5)))
