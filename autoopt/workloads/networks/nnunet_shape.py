"""What the plans of nnU-Net v2 say of a network, as checked values: nothing that they name is looked up or run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoopt.core.plain_text import short
from autoopt.errors import WorkloadError

PLAIN, RESIDUAL = "PlainConvUNet", "ResidualEncoderUNet"
BLOCKS = {PLAIN: "n_conv_per_stage", RESIDUAL: "n_blocks_per_stage"}
"""What plans call the number of blocks of each stage of the encoder, by the network."""
SIZES = {"Conv2d": 2, "Conv3d": 3}
NORMS = ("InstanceNorm", "BatchNorm")
ACTIVATIONS = ("LeakyReLU", "ReLU", "PReLU", "ELU", "GELU", "SiLU", "Mish")
KNOWN = {
    "norm_op": tuple(f"{name}{size}d" for name in NORMS for size in (2, 3)),
    "dropout_op": ("Dropout", "Dropout2d", "Dropout3d"),
    "nonlin": ACTIVATIONS,
}
"""The layers that plans may name, all of torch.nn."""
KEYWORDS = {
    "norm_op": ("eps", "affine", "momentum", "track_running_stats"),
    "dropout_op": ("p", "inplace"),
    "nonlin": ("negative_slope", "inplace", "alpha", "init", "num_parameters", "approximate"),
}
"""The arguments that these layers may get; each is a number, a flag or a text."""
UNUSED = ("deep_supervision", "input_channels", "num_classes")
"""Arguments that a search sets itself."""
MOST_STAGES, MOST_FEATURES, MOST_BLOCKS, MOST_KERNEL = 12, 4096, 64, 31
"""More would be a mistake, and could fill memory before any weights are read."""


@dataclass(frozen=True)
class Layer:
    """A layer of torch.nn by its name, and the arguments that it gets."""

    name: str
    keywords: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class UNetShape:
    """A U-Net of nnU-Net: `kind` is `PLAIN` or `RESIDUAL`, `convolution` is Conv2d or Conv3d.

    One entry for each stage of the encoder: `features`, `kernels`, `strides`, `blocks`; one less in `decoder`, the
    blocks of its stages from coarse to fine. `stem` is the number of channels before a residual encoder.
    """

    kind: str
    convolution: str
    features: tuple[int, ...]
    kernels: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    blocks: tuple[int, ...]
    decoder: tuple[int, ...]
    bias: bool = False
    norm: Layer | None = None
    dropout: Layer | None = None
    activation: Layer | None = None
    stem: int | None = None

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return SIZES[self.convolution]

    @property
    def divisor(self) -> tuple[int, ...]:
        """What the sizes of a call must be multiples of, by axis."""
        return tuple(math.prod(column) for column in zip(*self.strides, strict=True))


def read_shape(class_name: str, arguments: Mapping[str, Any], where: str) -> UNetShape:
    """The network that plans describe by the name of its class and its arguments (`arch_kwargs`).

    `where` names the file in messages. Raises WorkloadError for another network, layer or argument, by its name.
    """
    kind = class_name.rpartition(".")[2]
    if kind not in BLOCKS:
        raise WorkloadError(
            f"{where}: the network must be {' or '.join(BLOCKS)}, it is {short(kind)}, which cannot be built here"
        )
    try:
        return _shape(kind, dict(arguments))
    except ValueError as error:
        raise WorkloadError(f"{where}: {error}") from error


def _shape(kind: str, given: dict[str, Any]) -> UNetShape:
    convolution = _torch_name(given.pop("conv_op", None), tuple(SIZES), "conv_op")
    size = SIZES[convolution]
    features = given.pop("features_per_stage", None)
    stages = _whole(given.pop("n_stages", len(features) if isinstance(features, list) else None), "n_stages", 2)
    if stages > MOST_STAGES:
        raise ValueError(f"n_stages must be at most {MOST_STAGES}, it is {stages}")
    stem = given.pop("stem_channels", None) if kind == RESIDUAL else None
    found = UNetShape(
        kind,
        convolution,
        _wholes(features, stages, "features_per_stage", MOST_FEATURES),
        _sizes(given.pop("kernel_sizes", None), stages, size, "kernel_sizes", MOST_KERNEL),
        _sizes(given.pop("strides", None), stages, size, "strides", MOST_KERNEL),
        _wholes(given.pop(BLOCKS[kind], None), stages, BLOCKS[kind], MOST_BLOCKS),
        _wholes(given.pop("n_conv_per_stage_decoder", None), stages - 1, "n_conv_per_stage_decoder", MOST_BLOCKS),
        bias=_flag(given.pop("conv_bias", False), "conv_bias"),
        norm=_layer(given, "norm_op"),
        dropout=_layer(given, "dropout_op"),
        activation=_layer(given, "nonlin"),
        stem=None if stem is None else _whole(stem, "stem_channels", 1),
    )
    left = [name for name, value in given.items() if name not in UNUSED and value not in (None, False)]
    if left:
        raise ValueError(f"arch_kwargs must be those of a {kind}, {short(sorted(left))} cannot be built here")
    if found.norm is not None and not found.norm.name.endswith(f"{size}d"):
        raise ValueError(f"norm_op must be for {size}D as conv_op is, it is {found.norm.name}")
    return found


def _torch_name(value: Any, known: Sequence[str], name: str) -> str:
    """The last part of the name of a class of torch.nn, if it is one of `known`."""
    room, _, last = value.rpartition(".") if isinstance(value, str) else ("", "", "")
    if not (room == "torch.nn" or room.startswith("torch.nn.")) or last not in known:
        raise ValueError(f"{name} must be one of torch.nn's {', '.join(known)}, it is {short(value)}")
    return str(last)


def _layer(given: dict[str, Any], name: str) -> Layer | None:
    keywords, value = given.pop(f"{name}_kwargs", None) or {}, given.pop(name, None)
    if value is None:
        return None
    layer = _torch_name(value, KNOWN[name], name)
    plain = isinstance(keywords, dict) and all(isinstance(item, bool | int | float | str) for item in keywords.values())
    if not plain or not set(keywords) <= set(KEYWORDS[name]):
        allowed = ", ".join(KEYWORDS[name])
        raise ValueError(f"{name}_kwargs must be numbers or flags out of {allowed}, they are {short(keywords)}")
    # What works in place would change what others look at; the numbers are the same.
    return Layer(layer, {key: item for key, item in keywords.items() if key != "inplace"})


def _whole(value: Any, name: str, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, it is {short(value)}")
    return value


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, it is {short(value)}")
    return value


def _wholes(value: Any, count: int, name: str, most: int) -> tuple[int, ...]:
    """One number for each stage; a single one stands for all."""
    found = [value] * count if isinstance(value, int) else value
    if not isinstance(found, list) or len(found) != count:
        raise ValueError(f"{name} must have {count} numbers, it is {short(value)}")
    numbers = tuple(_whole(item, name, 1) for item in found)
    if max(numbers, default=1) > most:
        raise ValueError(f"{name} must be at most {most}, it is {short(value)}")
    return numbers


def _sizes(value: Any, count: int, axes: int, name: str, most: int) -> tuple[tuple[int, ...], ...]:
    """The sizes along all axes for each stage; a single number stands for all of them."""
    found = [value] * count if isinstance(value, int) else value
    if not isinstance(found, list) or len(found) != count:
        raise ValueError(f"{name} must have {count} lists of {axes} numbers, it is {short(value)}")
    return tuple(_wholes(item, axes, name, most) for item in found)
