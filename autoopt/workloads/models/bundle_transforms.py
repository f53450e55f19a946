"""MONAI's transforms of the image, one function each, as steps of our pipeline.

A function reads the arguments it knows; what it does not read is refused by `bundle_settings`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from autoopt.inference.steps.axes import Orient
from autoopt.inference.steps.foreground import CropForeground
from autoopt.inference.steps.own_range import MinMax, Percentile, ZScore
from autoopt.inference.steps.resample import Resample, Resize
from autoopt.inference.steps.values import Affine, Clip
from autoopt.workloads.models.bundle_chain import TRANSPOSED
from autoopt.workloads.models.bundle_step import Step

ABOVE = re.compile(r"\$\s*lambda (\w+)\s*:\s*\1\s*>\s*(-?\d+(?:\.\d*)?)\s*")
"""How a configuration writes that values above a number are foreground; the text is looked at and never run."""
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
        step.settings.chain += [TRANSPOSED] if turned else []
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
    step.used.add("axcodes")
    step.only("labels", [None, [["L", "R"], ["P", "A"], ["I", "S"]]], None)
    _with_affine(step)
    if step.settings.resampled:
        step.refuse("order", "late", "must come before images are resampled: sizes and spacings are those of its axes")
    step.settings.chain.append(Orient("".join(map(str, axes)) if isinstance(axes, list) else axes))


def _spacing(step: Step) -> None:
    _with_affine(step)
    if step.settings.resampled:
        raise ValueError("must be the only transform that resamples images")
    spacing = step.numbers("pixdim", step.dimensions)
    if min(spacing) <= 0:
        raise ValueError(f"pixdim must be numbers above 0, they are {spacing}")
    step.only("mode", [*LINEAR, 1], "bilinear")
    step.only("padding_mode", ["border"], "border")
    for switch in ("diagonal", "scale_extent", "recompute_affine"):
        step.only(switch, [False], False)
    step.used.add("ensure_same_shape")  # concerns other keys
    step.only("align_corners", [False, True], False)
    # Aligned corners give the same values, but MONAI's are others where an axis has a single voxel.
    kernel = "corners" if step.get("align_corners") else "linear"
    step.settings.chain.append(Resample(tuple(spacing), "first_voxel", kernel))


def _resize(step: Step) -> None:
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
    step.settings.chain.append(Resize(tuple(int(size) for size in sizes), kernel))


def _foreground(step: Step) -> None:
    if (source := step.get("source_key", step.key)) != step.key:
        step.refuse("source_key", source, f"must be the image's own key, {step.key}")
    select = step.text("select_fn", "is_positive")
    found = ABOVE.fullmatch(select)
    if found is None and select.rpartition(".")[2].lstrip("$") != "is_positive":
        step.refuse("select_fn", select, "has no equal here, it must be is_positive or `$lambda x: x > NUMBER`")
    chosen = step.get("channel_indices")
    margin = step.numbers("margin", step.dimensions, 0)
    divisible = int(step.numbers("k_divisible", 1, 1)[0])
    if max(margin) > 0 and not step.flag("allow_smaller"):
        step.refuse("margin", margin, "has no equal here beyond the edge of an image: allow_smaller must be true")
    if divisible > 1:
        step.only("mode", ["constant"], "constant")
    step.used |= {"allow_smaller", "mode", "start_coord_key", "end_coord_key"}
    step.settings.chain.append(
        CropForeground(
            above=0.0 if found is None else float(found[2]),
            channels=None if chosen is None else tuple(chosen) if isinstance(chosen, list) else (chosen,),
            margin=tuple(int(size) for size in margin),
            divisible=divisible,
            outside="zero",
        )
    )


def _with_affine(step: Step) -> None:
    """Refuse to turn or resample by an affine that an earlier transform dropped."""
    if step.settings.untracked:
        step.refuse("order", "late", "must come before the affine is dropped (track_meta=False)")


def _range(step: Step) -> None:
    (low,), (high,) = step.numbers("a_min", 1), step.numbers("a_max", 1)
    if high <= low:
        raise ValueError(f"a_max must be above a_min, they are {high} and {low}")
    to_low, to_high = _target(step, "b_min", "b_max")
    by = (high - low) / (to_high - to_low)
    step.settings.chain.append(Affine(subtract=(low - to_low * by,), divide=(by,)))
    if step.flag("clip"):
        step.settings.chain.append(Clip(low=to_low, high=to_high))


def _normalise(step: Step) -> None:
    wise, where = step.flag("channel_wise"), "nonzero" if step.flag("nonzero") else "all"
    given: dict[str, tuple[float, ...] | None] = {}
    for name in ("subtrahend", "divisor"):
        value = step.get(name)
        if value is not None and isinstance(value, list) != wise:
            raise ValueError(f"{name} must be a number, or with channel_wise one number per channel")
        given[name] = None if value is None else tuple(step.numbers(name, step.channels))
    subtract, divide = given["subtrahend"], given["divisor"]
    if divide is not None and 0 in divide:
        raise ValueError(f"divisor must not be 0, it is {divide}")
    if where == "all" and subtract is not None and divide is not None:
        step.settings.chain.append(Affine(subtract=subtract, divide=divide))
        return
    each = wise or step.channels == 1
    step.settings.chain.append(ZScore(each_channel=each, where=where, subtract=subtract, divide=divide))


def _extremes(step: Step) -> None:
    step.only("factor", [None], None)
    to = _target(step, "minv", "maxv", (0.0, 1.0))
    step.settings.chain.append(MinMax(each_channel=step.flag("channel_wise") or step.channels == 1, to=to))


def _percentiles(step: Step) -> None:
    (lower,), (upper,) = step.numbers("lower", 1), step.numbers("upper", 1)
    low, high = _target(step, "b_min", "b_max")
    if step.flag("relative"):
        low, high = low + (high - low) * lower / 100, low + (high - low) * upper / 100
    each, clip = step.flag("channel_wise") or step.channels == 1, step.flag("clip")
    step.settings.chain.append(Percentile(each_channel=each, low=lower, high=upper, to=(low, high), clip=clip))


def _target(step: Step, low: str, high: str, default: tuple[Any, Any] = (None, None)) -> tuple[float, float]:
    """The two arguments that say the new range."""
    if step.get(low, default[0]) is None or step.get(high, default[1]) is None:
        raise ValueError(f"{low} and {high} must be given")
    (first,), (last,) = step.numbers(low, 1, default[0]), step.numbers(high, 1, default[1])
    if last <= first:
        raise ValueError(f"{high} must be above {low}, they are {last} and {first}")
    return first, last


TRANSFORMS: Mapping[str, Callable[[Step], None]] = {
    "LoadImage": _load,
    "EnsureChannelFirst": _channel_first,
    "EnsureType": _typed,
    "CastToType": _typed,
    "ToTensor": _typed,
    "Orientation": _orientation,
    "Spacing": _spacing,
    "Resize": _resize,
    "CropForeground": _foreground,
    "ScaleIntensityRange": _range,
    "ScaleIntensity": _extremes,
    "ScaleIntensityRangePercentiles": _percentiles,
    "NormalizeIntensity": _normalise,
}
