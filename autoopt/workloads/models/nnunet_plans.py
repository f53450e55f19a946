"""The plans.json of nnU-Net v2, new and old, as checked values: what images go through, and which network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autoopt.core.plain_text import parse_json, short
from autoopt.errors import WorkloadError
from autoopt.workloads.networks.nnunet_shape import BLOCKS, Layer, UNetShape, read_shape

PLANS = "plans.json"
READERS = {
    "SimpleITKIO": None,
    "NibabelIO": None,
    "SimpleITKIOWithReorient": "RAS",
    "NibabelIOWithReorient": "RAS",
    "NaturalImage2DIO": None,
}
"""The readers of nnU-Net whose images are read here, and the orientation that they turn them to."""
PICTURES = "NaturalImage2DIO"
SCHEMES = (
    *("CTNormalization", "ZScoreNormalization", "RGBTo01Normalization"),
    *("RescaleTo01Normalization", "NoNormalization"),
)
SPLINE, TORCH = "resample_data_or_seg_to_shape", "resample_torch_fornnunet"
STATISTICS = ("mean", "std", "percentile_00_5", "percentile_99_5")
BATCH_NORM_TRAINER = "nnUNetTrainerBN"
"""The one trainer of nnU-Net that changes the network: it takes batch norms."""
MOST_INHERITED = 20
MOST_TILE = 4096
LARGEST_ORDER = 5
COARSE = 3
"""So many times longer are voxels along an axis whose slices are resampled by themselves, unless plans say so."""


@dataclass(frozen=True)
class Resampling:
    """How one kind of array is resampled: by splines, or linearly as torch does.

    `order` within a slice, `order_between` across slices where `separate` says so: True, False, or None for "where
    voxels are more than three times as long along one axis".
    """

    torch: bool = False
    order: int = 3
    order_between: int = 0
    separate: bool | None = None


@dataclass(frozen=True)
class Plans:
    """What a configuration of the plans says.

    `tile` and `spacing_mm` are of the axes that the network sees, `transposed` is `transpose_forward`: which axis of
    what the reader gives comes first, second, third. `schemes` has the normalisation of each channel, `masked` whether
    it is that of the non-zero part, `statistics` mean, std and percentiles of the training set by channel.
    """

    configuration: str
    reader: str
    transposed: tuple[int, int, int]
    tile: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    schemes: tuple[str, ...]
    masked: tuple[bool, ...]
    statistics: tuple[Mapping[str, float], ...]
    data: Resampling
    probabilities: Resampling
    shape: UNetShape

    @property
    def dimensions(self) -> int:
        """Of the network: 2 or 3."""
        return len(self.tile)


def read_plans(text: str | bytes, where: str, configuration: str, channels: int, trainer: str = "") -> Plans:
    """The configuration of plans for a model of so many channels; `where` names the file in messages.

    Raises WorkloadError for what cannot be done here (a cascade, a reader, a network), by its name.
    """
    try:
        found = parse_json(text)
        if not isinstance(found, dict) or not isinstance(found.get("configurations"), dict):
            raise ValueError("it must be a mapping with configurations")
        settings = _inherited(found["configurations"], configuration)
        return _plans(found, settings, configuration, channels, where, trainer)
    except (ValueError, OverflowError) as error:
        raise WorkloadError(f"{where} must be the plans of nnU-Net v2: {str(error)[:400]}") from error


def _inherited(configurations: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The settings of a configuration and of those that it inherits from."""
    settings: dict[str, Any] = {}
    for _ in range(MOST_INHERITED):
        own = configurations.get(name)
        if not isinstance(own, dict):
            raise ValueError(f"it has no configuration {short(name)}, it has {short(sorted(configurations))}")
        settings = {**own, **settings}
        if "inherits_from" not in own:
            return settings
        name = own["inherits_from"]
    raise ValueError(f"its configurations must not inherit from each other in a circle, {short(name)} does")


def _plans(
    found: Mapping[str, Any], settings: Mapping[str, Any], name: str, channels: int, where: str, trainer: str
) -> Plans:
    if settings.get("previous_stage"):
        raise ValueError(
            f"the configuration {name} is the second stage of a cascade, after {short(settings['previous_stage'])}, "
            "which takes the answer of the first as channels and cannot be run here: take the first stage or 3d_fullres"
        )
    reader = found.get("image_reader_writer")
    if reader not in READERS:
        raise ValueError(f"image_reader_writer must be one of {', '.join(READERS)}, it is {short(reader)}")
    preprocessor = settings.get("preprocessor_name", "DefaultPreprocessor")
    if preprocessor != "DefaultPreprocessor":
        raise ValueError(f"preprocessor_name must be DefaultPreprocessor, {short(preprocessor)} is not known here")
    tile = _numbers(settings, "patch_size", (2, 3), whole=True)
    transposed = _numbers(found, "transpose_forward", (3,), whole=True, least=0)
    if sorted(transposed) != [0, 1, 2]:
        raise ValueError(f"transpose_forward must be the axes 0, 1, 2 in some order, it is {list(transposed)}")
    schemes = _strings(settings, "normalization_schemes", channels)
    unknown = sorted(set(schemes) - set(SCHEMES))
    if unknown:
        raise ValueError(f"normalization_schemes must be out of {', '.join(SCHEMES)}, {', '.join(unknown)} is not")
    masked = settings.get("use_mask_for_norm")
    if not isinstance(masked, list) or len(masked) != channels or not all(isinstance(item, bool) for item in masked):
        raise ValueError(f"use_mask_for_norm must have true or false for {channels} channel(s), it is {short(masked)}")
    return Plans(
        configuration=name,
        reader=str(reader),
        transposed=(int(transposed[0]), int(transposed[1]), int(transposed[2])),
        tile=tuple(int(size) for size in tile),
        spacing_mm=_numbers(settings, "spacing", (len(tile),)),
        schemes=schemes,
        masked=tuple(masked),
        statistics=_statistics(found, schemes),
        data=_resampling(settings, "data"),
        probabilities=_resampling(settings, "probabilities"),
        shape=_network(settings, len(tile), where, trainer),
    )


def _network(settings: Mapping[str, Any], dimensions: int, where: str, trainer: str) -> UNetShape:
    if "Primus" in trainer:
        raise ValueError(f"{trainer} trains a Primus, a transformer of its own, which cannot be built here")
    written = settings.get("architecture", None)
    if written is None:
        written = _old_architecture(settings, dimensions)
    if not isinstance(written, dict) or not isinstance(written.get("arch_kwargs"), dict):
        raise ValueError(
            f"architecture must be a mapping with network_class_name and arch_kwargs, got {short(written)}"
        )
    shape = read_shape(str(written.get("network_class_name")), written["arch_kwargs"], where)
    if shape.dimensions != dimensions:
        raise ValueError(f"the network must be {dimensions}D as patch_size is, it is {shape.dimensions}D")
    tile = settings["patch_size"]
    if any(size % divisor for size, divisor in zip(tile, shape.divisor, strict=True)):
        raise ValueError(f"patch_size must be multiples of {list(shape.divisor)}, by the strides; it is {tile}")
    if trainer == BATCH_NORM_TRAINER:
        shape = replace(shape, norm=Layer(f"BatchNorm{dimensions}d", {"eps": 1e-5, "affine": True}))
    return shape


def _old_architecture(settings: Mapping[str, Any], dimensions: int) -> dict[str, Any]:
    """The architecture of plans from before there was `architecture`, as nnU-Net 2.8.1 reads them."""
    kind = settings.get("UNet_class_name")
    if kind not in BLOCKS:
        raise ValueError(f"UNet_class_name must be {' or '.join(BLOCKS)}, it is {short(kind)}")
    blocks = settings.get("n_conv_per_stage_encoder")
    base, most = settings.get("UNet_base_num_features"), settings.get("unet_max_num_features")
    if not isinstance(blocks, list) or type(base) is not int or type(most) is not int or len(blocks) > MOST_INHERITED:
        raise ValueError(
            "old plans must have n_conv_per_stage_encoder, UNet_base_num_features and unet_max_num_features, got "
            f"{short(blocks)}, {short(base)} and {short(most)}"
        )
    return {
        "network_class_name": kind,
        "arch_kwargs": {
            "n_stages": len(blocks),
            "features_per_stage": [min(base * 2**stage, most) for stage in range(len(blocks))],
            "conv_op": f"torch.nn.Conv{dimensions}d",
            "kernel_sizes": settings.get("conv_kernel_sizes"),
            "strides": settings.get("pool_op_kernel_sizes"),
            BLOCKS[kind]: blocks,
            "n_conv_per_stage_decoder": settings.get("n_conv_per_stage_decoder"),
            "conv_bias": True,
            "norm_op": f"torch.nn.InstanceNorm{dimensions}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": "torch.nn.LeakyReLU",
        },
    }


def _statistics(found: Mapping[str, Any], schemes: tuple[str, ...]) -> tuple[Mapping[str, float], ...]:
    """The intensities of the training set; only those of CT are needed."""
    name = "foreground_intensity_properties_per_channel"
    every = found.get(name, found.get("foreground_intensity_properties_by_modality"))
    made = []
    for index, scheme in enumerate(schemes):
        own = every.get(str(index)) if isinstance(every, dict) else None
        values: dict[str, Any] = {key: own.get(key) for key in STATISTICS} if isinstance(own, dict) else {}
        numbers = {key: float(value) for key, value in values.items() if type(value) in (int, float)}
        good = len(numbers) == len(STATISTICS) and all(map(math.isfinite, numbers.values()))
        if scheme == "CTNormalization" and not good:
            raise ValueError(f"{name} must have {', '.join(STATISTICS)} of channel {index}, it has {short(own)}")
        made.append(numbers if good else {})
    return tuple(made)


def _resampling(settings: Mapping[str, Any], kind: str) -> Resampling:
    name, given = settings.get(f"resampling_fn_{kind}", SPLINE), settings.get(f"resampling_fn_{kind}_kwargs", {})
    if name not in (SPLINE, TORCH) or not isinstance(given, dict):
        raise ValueError(f"resampling_fn_{kind} must be {SPLINE} or {TORCH}, it is {short(name)}")
    if given.get("separate_z_anisotropy_threshold", COARSE) != COARSE:
        raise ValueError(
            f"separate_z_anisotropy_threshold of resampling_fn_{kind} must be {COARSE}, others are not done"
        )
    separate = given.get("force_separate_z")
    if separate not in (None, True, False):
        raise ValueError(f"force_separate_z of resampling_fn_{kind} must be true, false or null, got {short(separate)}")
    if name == TORCH:
        if separate:
            raise ValueError(f"force_separate_z of {TORCH} must be false, true is not done here")
        return Resampling(torch=True)
    order, between = given.get("order", 3 if kind == "data" else 1), given.get("order_z", 0)
    if not all(type(item) is int and 0 <= item <= LARGEST_ORDER for item in (order, between)):
        raise ValueError(
            f"order and order_z of resampling_fn_{kind} must be 0 to {LARGEST_ORDER}, got {order}, {between}"
        )
    return Resampling(order=order, order_between=between, separate=separate)


def _numbers(
    settings: Mapping[str, Any], name: str, counts: tuple[int, ...], *, whole: bool = False, least: float = 1
) -> tuple[float, ...]:
    """A list of numbers; those that are not `whole` must be above 0."""
    found = settings.get(name)
    kinds = (int,) if whole else (int, float)
    good = isinstance(found, list) and len(found) in counts and all(type(item) in kinds for item in found)
    if not good or not all(least <= item <= MOST_TILE if whole else 0 < item < MOST_TILE for item in found or ()):
        what = "whole numbers" if whole else "numbers above 0"
        raise ValueError(f"{name} must be {' or '.join(map(str, counts))} {what}, it is {short(found)}")
    return tuple(found or ())


def _strings(settings: Mapping[str, Any], name: str, count: int) -> tuple[str, ...]:
    found = settings.get(name)
    if not isinstance(found, list) or len(found) != count or not all(isinstance(item, str) for item in found):
        raise ValueError(f"{name} must have one for each of the {count} channel(s), it is {short(found)}")
    return tuple(found)
