"""MONAI's transforms of the image, one function each, as settings of our pipeline.

A function reads the arguments it knows; what it does not read is refused by `bundle_settings`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from autoopt.workloads.models.bundle_step import Step

LINEAR = ("bilinear", "trilinear", "linear")
PICTURE_READERS = ("", "pilreader", "itkreader", "numpyreader", "nibabelreader")
"""Readers that give a picture as (width, height): the others cannot read it and leave it to MONAI's default."""


def _load(step: Step) -> None:
    given = step.text("reader", "")
    reader = re.sub(r"^\$?(monai\.data\.)?(image_reader\.)?", "", given).lower()
    if reader not in PICTURE_READERS:
        step.refuse("reader", given, "is not known here, it must be PILReader, ITKReader, NibabelReader or NumpyReader")
    turned = True
    if "reverse_indexing" in step.given:
        step.only("reverse_indexing", [True, False], True)
        turned = bool(step.get("reverse_indexing"))
        if reader != "pilreader":
            step.refuse("reverse_indexing", turned, "may be given only with the PILReader")
    if step.settings.pictures is None:
        raise ValueError("all images must be pictures (PNG, JPEG, ...) or none: MONAI swaps the axes of pictures only")
    if step.settings.pictures and step.dimensions == 2:
        step.settings.fields["transposed"] = turned
    step.used |= {
        "image_only",
        "meta_keys",
        "meta_key_postfix",
        "overwriting",
        "ensure_channel_first",
        "simple_keys",
        "prune_meta_pattern",
        "prune_meta_sep",
        "expanduser",
    }
    if step.given.get("dtype", "float32") is None:
        step.refuse("dtype", None, "must be float32 or float64")


def _channel_first(step: Step) -> None:
    step.only("channel_dim", [None, "no_channel", -1, step.dimensions], None)
    step.used |= {"strict_check", "meta_keys", "meta_key_postfix"}


def _typed(step: Step) -> None:
    if step.get("track_meta") is False:
        step.settings.untracked = True
    step.used |= {"data_type", "device", "wrap_sequence"}
    if "decision" in step.settings.done:  # labels are whole numbers
        step.used.add("dtype")


def _orientation(step: Step) -> None:
    canonical = step.get("as_closest_canonical", False)
    axes = "RAS" if canonical else step.get("axcodes")
    step.settings.fields["orientation"] = "".join(map(str, axes)) if isinstance(axes, list) else axes
    step.used.add("axcodes")
    step.only("labels", [None, [["L", "R"], ["P", "A"], ["I", "S"]]], None)
    _with_affine(step)
    if step.settings.resampled:
        step.refuse("order", "late", "must come before images are resampled: sizes and spacings are those of its axes")


def _spacing(step: Step) -> None:
    _before_intensity(step)
    _with_affine(step)
    if step.settings.resampled:
        raise ValueError("must be the only transform that resamples images")
    spacing = step.numbers("pixdim", step.dimensions)
    if min(spacing) <= 0:
        raise ValueError(f"pixdim must be numbers above 0, they are {spacing}")
    step.settings.fields |= {"spacing_mm": tuple(spacing), "spacing_grid": "first_voxel", "interpolation": "linear"}
    step.only("mode", [*LINEAR, 1], "bilinear")
    step.only("padding_mode", ["border"], "border")
    for switch in ("diagonal", "scale_extent", "recompute_affine"):
        step.only(switch, [False], False)
    step.used.add("ensure_same_shape")  # concerns other keys
    step.only("align_corners", [False, True], False)
    if step.get("align_corners"):  # the same values, but MONAI's are others where an axis has a single voxel
        step.settings.fields["interpolation"] = "corners"


def _resize(step: Step) -> None:
    _before_intensity(step)
    if step.settings.resampled:
        raise ValueError("must be the only transform that resamples images")
    sizes = step.numbers("spatial_size", step.dimensions)
    if min(sizes) < 1:
        raise ValueError(f"spatial_size must be numbers above 0, they are {sizes}")
    step.only("mode", [*LINEAR, "area"], "area")
    step.only("size_mode", ["all"], "all")
    step.only("anti_aliasing", [False], False)
    step.used.add("anti_aliasing_sigma")
    kernel = "area" if step.get("mode", "area") == "area" else "linear"
    step.only("align_corners", [None, False, True], None)
    if step.get("align_corners") and kernel == "linear":
        kernel = "corners"
    step.settings.fields |= {"size": tuple(int(size) for size in sizes), "fit": "resize", "interpolation": kernel}


def _with_affine(step: Step) -> None:
    """Refuse to turn or resample by an affine that an earlier transform dropped."""
    if step.settings.untracked:
        step.refuse("order", "late", "must come before the affine is dropped (track_meta=False)")


def _before_intensity(step: Step) -> None:
    """Refuse a resampling after a clip or a normalisation: only a scale and a shift may be exchanged with it."""
    if {"clip", "intensity"} & set(step.settings.fields):
        step.refuse("order", "late", "must come before images are clipped or normalised by themselves")


def _range(step: Step) -> None:
    (low,), (high,) = step.numbers("a_min", 1), step.numbers("a_max", 1)
    if high <= low:
        raise ValueError(f"a_max must be above a_min, they are {high} and {low}")
    if step.get("b_min") is None or step.get("b_max") is None:
        raise ValueError("b_min and b_max must be given")
    (to_low,), (to_high,) = step.numbers("b_min", 1), step.numbers("b_max", 1)
    if to_high <= to_low:
        raise ValueError(f"b_max must be above b_min, they are {to_high} and {to_low}")
    gain = (to_high - to_low) / (high - low)
    _affine(step, gain, to_low - low * gain)
    if step.get("clip", False):
        _clip(step, to_low, to_high)


def _clip(step: Step, low: float, high: float) -> None:
    """Limit values to `low` and `high`, turned back into units of the image, because the pipeline clips first."""
    settings = step.settings
    if "intensity" in settings.fields:
        step.refuse("clip", True, "must not follow a normalisation of each image by itself")
        return
    if len(set(settings.gain)) > 1 or len(set(settings.offset)) > 1:
        raise ValueError("a clip must be the same for all channels")
    bounds = [(bound - settings.offset[0]) / settings.gain[0] for bound in (low, high)]
    before = settings.fields.get("clip", (bounds[0], bounds[1]))
    settings.fields["clip"] = (max(before[0], bounds[0]), min(before[1], bounds[1]))


def _normalise(step: Step) -> None:
    channels, settings = step.channels, step.settings
    wise = step.get("channel_wise", False)
    step.only("nonzero", [False], False)
    if step.get("subtrahend") is None and step.get("divisor") is None:
        _own_range(step, wise, "zscore")
        return
    lists = [isinstance(step.get(name), list) for name in ("subtrahend", "divisor")]
    if any(listed != bool(wise) for listed in lists):
        raise ValueError("subtrahend and divisor must be numbers, or with channel_wise one number per channel")
    mean, std = step.numbers("subtrahend", channels), step.numbers("divisor", channels)
    if min(std) <= 0:
        raise ValueError(f"divisor must be above 0, it is {std}")
    settings.apply([1 / value for value in std], [-shift / value for shift, value in zip(mean, std, strict=True)])


def _extremes(step: Step) -> None:
    _own_range(step, step.get("channel_wise", False), "percentile")
    step.settings.fields["percentiles"] = (0.0, 100.0)
    (low,), (high,) = step.numbers("minv", 1, 0.0), step.numbers("maxv", 1, 1.0)
    step.only("factor", [None], None)
    _affine(step, high - low, low)


def _percentiles(step: Step) -> None:
    _own_range(step, step.get("channel_wise", False), "percentile")
    (lower,), (upper,) = step.numbers("lower", 1), step.numbers("upper", 1)
    step.settings.fields["percentiles"] = (lower, upper)
    (low,), (high,) = step.numbers("b_min", 1), step.numbers("b_max", 1)
    step.only("clip", [True], False)
    step.only("relative", [False], False)
    _affine(step, high - low, low)


def _own_range(step: Step, channel_wise: bool, intensity: str) -> None:
    """Normalise each image by its own intensities: a scale and a shift before that have no effect."""
    if "intensity" in step.settings.fields:
        raise ValueError(f"images are normalised by themselves already ({step.settings.fields['intensity']})")
    if step.channels > 1 and not channel_wise:
        step.refuse("channel_wise", channel_wise, f"must be true for images of {step.channels} channels")
    step.settings.fields["intensity"] = intensity
    step.settings.gain, step.settings.offset = [1.0] * step.channels, [0.0] * step.channels


def _affine(step: Step, gain: float, offset: float) -> None:
    step.settings.apply([gain] * step.channels, [offset] * step.channels)


TRANSFORMS: Mapping[str, Callable[[Step], None]] = {
    "LoadImage": _load,
    "EnsureChannelFirst": _channel_first,
    "EnsureType": _typed,
    "CastToType": _typed,
    "ToTensor": _typed,
    "Orientation": _orientation,
    "Spacing": _spacing,
    "Resize": _resize,
    "ScaleIntensityRange": _range,
    "ScaleIntensity": _extremes,
    "ScaleIntensityRangePercentiles": _percentiles,
    "NormalizeIntensity": _normalise,
}
