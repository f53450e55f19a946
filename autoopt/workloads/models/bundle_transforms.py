"""MONAI's transforms and inferers, one function each, as settings of our pipeline.

A function reads the arguments it knows; what it does not read is refused by `bundle_settings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from autoopt.workloads.models.bundle_step import Step

LINEAR = ("bilinear", "trilinear", "linear", "area", 1)


def _orientation(step: Step) -> None:
    canonical = step.get("as_closest_canonical", False)
    step.settings.fields["orientation"] = "RAS" if canonical else step.get("axcodes")
    step.used.add("axcodes")
    step.only("labels", [None, [["L", "R"], ["P", "A"], ["I", "S"]]], None)


def _spacing(step: Step) -> None:
    _before_intensity(step)
    step.settings.fields["spacing_mm"] = tuple(step.numbers("pixdim", step.dimensions))
    step.only("mode", LINEAR, "bilinear")
    step.only("diagonal", [False], False)
    step.used |= {"scale_extent", "recompute_affine", "ensure_same_shape"}


def _resize(step: Step) -> None:
    _before_intensity(step)
    step.settings.fields["size"] = tuple(int(size) for size in step.numbers("spatial_size", step.dimensions))
    step.settings.fields["fit"] = "resize"
    step.only("mode", LINEAR, "area")
    step.only("size_mode", ["all"], "all")
    step.used |= {"anti_aliasing", "anti_aliasing_sigma"}


def _before_intensity(step: Step) -> None:
    """Refuse a resampling after a clip or a normalisation: only a scale and a shift may be exchanged with it."""
    if {"clip", "intensity"} & set(step.settings.fields):
        step.refuse("order", "late", "must come before images are clipped or normalised by themselves")


def _range(step: Step) -> None:
    (low,), (high,) = step.numbers("a_min", 1), step.numbers("a_max", 1)
    if high <= low:
        raise ValueError(f"a_max must be above a_min, they are {high} and {low}")
    (to_low,), (to_high,) = step.numbers("b_min", 1, 0.0), step.numbers("b_max", 1, 1.0)
    if "b_min" not in step.given or "b_max" not in step.given:
        raise ValueError("b_min and b_max must be given")
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
    if isinstance(step.get("subtrahend"), list) and not wise:
        raise ValueError("numbers per channel must come with channel_wise")
    mean, std = step.numbers("subtrahend", channels), step.numbers("divisor", channels)
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
    if step.settings.fields.get("intensity", intensity) != intensity:
        raise ValueError(f"images are normalised by themselves already ({step.settings.fields['intensity']})")
    if step.channels > 1 and not channel_wise:
        step.refuse("channel_wise", channel_wise, f"must be true for images of {step.channels} channels")
    step.settings.fields["intensity"] = intensity
    step.settings.gain, step.settings.offset = [1.0] * step.channels, [0.0] * step.channels


def _affine(step: Step, gain: float, offset: float) -> None:
    step.settings.apply([gain] * step.channels, [offset] * step.channels)


def _window(step: Step) -> None:
    sizes = step.numbers("roi_size", step.dimensions)
    step.settings.tile = tuple(int(size) if size > 0 else None for size in sizes)
    overlap = step.get("overlap", 0.25)
    step.settings.fields["overlap"] = max(overlap) if isinstance(overlap, list) else float(overlap)
    step.only("mode", ["constant"], "constant")
    step.used |= {
        "sw_batch_size",
        "sw_device",
        "device",
        "progress",
        "cache_roi_weight_map",
        "cpu_thresh",
        "cval",
        "buffer_steps",
        "buffer_dim",
        "sigma_scale",
    }


def _whole(step: Step) -> None:
    """The network takes the whole image: the size of a call comes from the images or the options."""


def _activation(step: Step) -> None:
    sigmoid, softmax = step.get("sigmoid", False), step.get("softmax", False)
    step.only("other", [None], None)
    step.used.add("dim")
    if sigmoid or softmax:
        step.settings.fields["activation"] = "sigmoid" if sigmoid else "softmax"


def _decision(step: Step) -> None:
    step.settings.argmax = bool(step.get("argmax", False)) or step.settings.argmax
    threshold = step.get("threshold")
    if threshold is not None:
        step.settings.fields["threshold"] = step.numbers("threshold", 1, threshold)[0] if threshold is not True else 0.5
    step.only("rounding", [None], None)
    step.used |= {"to_onehot", "dim", "keepdim"}


def _largest(step: Step) -> None:
    step.only("num_components", [1], 1)
    step.only("independent", [True], True)
    step.used |= {"is_onehot", "connectivity"}
    step.settings.fields["largest_component"] = _every_label(step)


def _holes(step: Step) -> None:
    step.used.add("connectivity")
    step.settings.fields["fill_holes"] = _every_label(step)


def _every_label(step: Step) -> bool:
    """Refuse a choice of labels: our clean-up works on every label but the background."""
    labels = step.get("applied_labels")
    chosen = [labels] if isinstance(labels, int) else labels
    if chosen is not None and {0, *chosen} != set(range(step.classes)):
        step.refuse("applied_labels", labels, "must be every label but the background")
    return True


FUNCTIONS: Mapping[str, Callable[[Step], None]] = {
    "Orientation": _orientation,
    "Spacing": _spacing,
    "Resize": _resize,
    "ScaleIntensityRange": _range,
    "ScaleIntensity": _extremes,
    "ScaleIntensityRangePercentiles": _percentiles,
    "NormalizeIntensity": _normalise,
    "SlidingWindowInferer": _window,
    "SimpleInferer": _whole,
    "Activations": _activation,
    "AsDiscrete": _decision,
    "KeepLargestConnectedComponent": _largest,
    "FillHoles": _holes,
}
