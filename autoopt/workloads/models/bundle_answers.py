"""MONAI's inferers and the transforms of the prediction, one function each, as settings of our pipeline.

A function reads the arguments it knows; what it does not read is refused by `bundle_settings`. The order counts: what
comes before `Invertd` is done on the network's grid, what comes after it on the image's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from autoopt.inference.steps.axes import Axes
from autoopt.workloads.models.bundle_config import shown
from autoopt.workloads.models.bundle_step import Settings, Step

VOLUME = 3
"""Axes of an image whose slices are taken."""

WITHOUT_EFFECT = {
    "sw_batch_size",
    "sw_device",
    "device",
    "progress",
    "cache_roi_weight_map",
    "cpu_thresh",
    "buffer_steps",
    "buffer_dim",
}
"""Arguments of a sliding window that do not change its answer."""
PADDINGS = {"constant": "zero", "reflect": "mirror", "replicate": "edge"}
BLENDS = {"constant": "mean", "gaussian": "gaussian"}


def _window(step: Step) -> None:
    dimensions = step.dimensions - int(step.settings.fields.get("sliced", False))
    sizes = step.numbers("roi_size", dimensions)
    step.settings.tile = tuple(int(size) if size > 0 else None for size in sizes)
    overlaps = set(step.numbers("overlap", dimensions, 0.25))
    if len(overlaps) > 1:
        step.refuse("overlap", sorted(overlaps), "must be the same for all axes")
    step.only("mode", list(BLENDS), "constant")
    sigmas = set(step.numbers("sigma_scale", dimensions, 0.125))
    if step.get("mode", "constant") == "gaussian":
        step.settings.fields["blend"] = "gaussian"
        if sigmas != {0.125}:
            step.settings.fields["blend_sigma"] = min(sigmas)
        if len(sigmas) > 1:
            step.refuse("sigma_scale", sorted(sigmas), "must be the same for all axes")
    step.only("padding_mode", list(PADDINGS), "constant")
    step.only("cval", [0, 0.0], 0.0)
    padding = PADDINGS.get(str(step.get("padding_mode", "constant")), "zero")
    step.settings.fields |= {"overlap": max(overlaps), "windows": "stride", "padding": padding}
    step.used |= WITHOUT_EFFECT


def _slices(step: Step) -> None:
    """A network of 2D images goes through the slices of a volume along one of its axes, which becomes the first."""
    axis = int(step.numbers("spatial_dim", 1, 0)[0])
    if step.dimensions != VOLUME or not 0 <= axis < VOLUME:
        raise ValueError(f"spatial_dim must be 0, 1 or 2, of images of 3 dimensions, it is {axis} of {step.dimensions}")
    if step.settings.resampled:
        step.refuse("order", "sliced", "must not follow a transform that resamples images (Spacingd, Resized)")
    if axis:
        step.settings.chain.append(Axes((axis, *(other for other in range(VOLUME) if other != axis))))
    step.settings.fields["sliced"] = True
    _window(step)


def _whole(step: Step) -> None:
    """The network takes the whole image: the size of a call comes from the images or the options."""


def _activation(step: Step) -> None:
    settings = step.settings
    sigmoid, softmax = bool(step.get("sigmoid", False)), bool(step.get("softmax", False))
    step.only("other", [None], None)
    step.only("dim", [0], 0)
    if not (sigmoid or softmax):
        return
    if sigmoid and softmax:
        raise ValueError("only one of sigmoid and softmax can be true")
    if "activation" in settings.done or "decision" in settings.done:
        raise ValueError("must come once, and before the decision (AsDiscreted)")
    settings.fields["activation"] = "sigmoid" if sigmoid else "softmax"
    settings.done.append("activation")


def _decision(step: Step) -> None:
    settings = step.settings
    argmax, threshold = bool(step.get("argmax", False)), step.get("threshold")
    settings.onehot = settings.onehot or step.get("to_onehot") is not None
    step.only("rounding", [None], None)
    step.only("dim", [0], 0)
    step.used |= {"keepdim", "dtype"}
    if not argmax and threshold is None:
        return
    if "decision" in settings.done:
        raise ValueError("must decide only once, by an argmax or a threshold")
    if argmax and settings.fields.get("activation") == "sigmoid" and settings.task == "classification":
        step.refuse("argmax", argmax, "must not follow a sigmoid: probabilities of one class are those of a softmax")
    settings.argmax = argmax
    if threshold is not None:
        settings.fields["threshold"] = step.numbers("threshold", 1)[0]
    settings.done.append("decision")


def _invert(step: Step) -> None:
    nearest = step.get("nearest_interp", True)
    step.used |= {
        "transform",
        "orig_keys",
        "meta_keys",
        "orig_meta_keys",
        "meta_key_postfix",
        "to_tensor",
        "device",
    }
    if any(name.startswith("invert") for name in step.settings.done):
        raise ValueError("must come only once")
    if not nearest and "decision" in step.settings.done and step.settings.resampled:
        if step.settings.multilabel or not step.settings.argmax:
            step.refuse("nearest_interp", nearest, "must be true after a threshold: 0 and 1 cannot be mixed")
        step.settings.remarks.append(
            f"{shown(step.where)}: Invertd mixes labels as numbers (nearest_interp must be true to take the nearest); "
            "as the bundle says, they are mixed and then rounded, so that label 1 lies between 0 and 2"
        )
    step.settings.done.append("invert nearest" if nearest else "invert")


def _largest(step: Step) -> None:
    fields, settings = step.settings.fields, step.settings
    step.only("num_components", [1], 1)
    step.only("independent", [True], True)
    step.only("is_onehot", [None, settings.multilabel or settings.onehot], None)
    if "fill_holes" in fields:
        step.refuse("order", "late", "must come before FillHolesd")
    if settings.multilabel and step.get("applied_labels") is None:
        step.refuse("applied_labels", None, "leaves out the first label, it must name every label")
    _clean(step, "largest_component")


def _holes(step: Step) -> None:
    if step.settings.multilabel or step.classes > 2:
        step.refuse("classes", step.classes, "labels has no equal here: it also fills holes that other labels are in")
    _clean(step, "fill_holes")


def _clean(step: Step, field: str) -> None:
    """Note a clean-up of every label but the background, after the decision and on the image's own grid."""
    settings = step.settings
    labels = step.get("applied_labels")
    chosen = [labels] if isinstance(labels, int) else labels
    lowest = set() if settings.multilabel else {0}
    if chosen is not None and {*lowest, *chosen} != set(range(step.classes)):
        step.refuse("applied_labels", labels, "must be every label but the background")
    if "decision" not in settings.done:
        step.refuse("order", "early", "must come after the decision (AsDiscreted)")
    early = settings.resampled and not any(name.startswith("invert") for name in settings.done)
    if settings.fields.setdefault("cleaned_on", place := "network" if early else "image") != place:
        step.refuse("order", "split", "must not be split: clean-ups come all before Invertd or all after it")
    given = step.get("connectivity")
    connectivity = step.dimensions if given is None else int(step.numbers("connectivity", 1)[0])
    if settings.fields.setdefault("connectivity", connectivity) != connectivity:
        step.refuse("connectivity", given, "must be the same for all clean-ups")
    settings.fields[field] = True


def restored(settings: Settings) -> str:
    """What is put back on the image's own grid, as the pipeline's `restore` names it."""
    done = settings.done
    if settings.resampled and "invert" in done and "decision" in done[: done.index("invert")]:
        return "rounded"
    if not settings.resampled or settings.task == "classification":
        return "logits"
    if "invert" not in done:  # MONAI puts labels back by their nearest voxel, in Invertd or when it saves them
        return "labels"
    return "probabilities" if "activation" in done[: done.index("invert")] else "logits"


ANSWERS: Mapping[str, Callable[[Step], None]] = {
    "SlidingWindowInferer": _window,
    "SliceInferer": _slices,
    "SimpleInferer": _whole,
    "Activations": _activation,
    "AsDiscrete": _decision,
    "Invert": _invert,
    "KeepLargestConnectedComponent": _largest,
    "FillHoles": _holes,
}
