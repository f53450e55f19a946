"""Classification networks: (n, 3, height, width) to logits (n, classes), fresh weights; one takes time series."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

VGG11 = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")


def vgg11(classes: int) -> torch.nn.Module:
    """VGG-11 with batch normalisation (Simonyan and Zisserman 2015), 9.2 million parameters.

    The convolutions are those of the paper. Its three linear layers, which have 120 million parameters and expect 7 x 7
    features, are replaced by the mean over the image and one linear layer.
    """
    from torch import nn

    layers: list[nn.Module] = []
    channels = 3
    for width in VGG11:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def densenet121(classes: int) -> torch.nn.Module:
    """DenseNet-121 (Huang et al. 2017) of MONAI, 7.0 million parameters."""
    from monai.networks.nets import DenseNet121

    net: torch.nn.Module = DenseNet121(spatial_dims=2, in_channels=3, out_channels=classes)
    return net


def efficientnet_b0(classes: int) -> torch.nn.Module:
    """EfficientNet-B0 (Tan and Le 2019) of MONAI, 4.0 million parameters, without pretrained weights.

    The momentum of batch norm is 0.1, not the usual 0.01: after the few hundred steps of a small data set the running
    statistics would still be far from those of the batches, and the network would predict one class for everything.
    """
    from monai.networks.nets import EfficientNetBN

    net: torch.nn.Module = EfficientNetBN(
        "efficientnet-b0",
        pretrained=False,
        spatial_dims=2,
        in_channels=3,
        num_classes=classes,
        norm=("batch", {"eps": 1e-3, "momentum": 0.1}),
    )
    return net


def small_cnn(classes: int) -> torch.nn.Module:
    """Eight convolutions, 0.3 million parameters: small enough to be shipped, and a control for the others."""
    from torch import nn

    layers: list[nn.Module] = []
    channels = 3
    for width, stride in ((16, 2), (32, 1), (32, 2), (64, 1), (64, 2), (96, 1), (96, 2), (128, 1)):
        layers += [nn.Conv2d(channels, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def series_cnn(channels: int, classes: int, width: int) -> torch.nn.Module:
    """Six convolutions over time: float32 (n, channels, time) to logits (n, classes), any length of at least 8.

    The first two have `width` channels, the last two four times as many: 0.03 million parameters with 16.
    """
    from torch import nn

    layers: list[nn.Module] = []
    for growth, kernel, stride in ((1, 7, 2), (1, 5, 1), (2, 5, 2), (2, 5, 1), (4, 3, 2), (4, 3, 1)):
        wide = growth * width
        layers += [nn.Conv1d(channels, wide, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm1d(wide)]
        layers.append(nn.ReLU())
        channels = wide
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, classes))
