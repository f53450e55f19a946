"""The transforms and the inferer of a MONAI bundle as settings of our pipeline. What has no equal here is refused.

Each transform has a function in `bundle_transforms` that reads its arguments. A transform without a function, an
argument that the function does not read, and a value that means something else are problems, all reported at once.
What is accepted gives MONAI's numbers (tests/workloads/models/test_bundle_equal.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from autoopt.errors import WorkloadError
from autoopt.inference.steps.base import Stationary
from autoopt.workloads.models.bundle_answers import ANSWERS, restored
from autoopt.workloads.models.bundle_chain import chain_fields
from autoopt.workloads.models.bundle_config import SEPARATOR, SPECIAL, TARGET, Config, shown
from autoopt.workloads.models.bundle_objects import described
from autoopt.workloads.models.bundle_step import Settings, Step
from autoopt.workloads.models.bundle_transforms import TRANSFORMS

FUNCTIONS = {**TRANSFORMS, **ANSWERS}
HARMLESS = {*SPECIAL, "keys", "allow_missing_keys", "_disabled_"}
"""Arguments without an effect on the result here."""
COMPOSE = {*SPECIAL, "transforms", "map_items", "unpack_items", "log_stats", "_disabled_"}
"""What a Compose may have."""
PLACES = {
    "preprocessing": ("preprocessing", "dataset::transform"),
    "inferer": ("inferer", "evaluator::inferer"),
    "postprocessing": ("postprocessing", "evaluator::postprocessing"),
}
"""Where a bundle may say each part, also below `validate`; the first that exists is read."""
IGNORED = {
    "AddChannel",
    "AsChannelFirst",
    "ToDevice",
    "Identity",
    "DeleteItems",
    "SelectItems",
    "ToNumpy",
}
"""Transforms that the reader of the data or the pipeline does in any case, or that change no value."""
SAVING = {"SaveImage", "SaveClassification", "Lambda"}
"""Transforms of the decided answer that only concern the file that MONAI writes."""


def read_settings(
    config: Config,
    *,
    channels: int,
    classes: int,
    dimensions: int,
    dropped: Collection[str] = (),
    task: str = "segmentation",
    pictures: bool | None = False,
    multilabel: bool = False,
    own_intensities: bool = True,
) -> Settings:
    """What the bundle's preprocessing, inferer and postprocessing mean here, for images of that many axes.

    `pictures` says whether the images are PNG, JPEG and the like, None where only some are. `dropped` names transforms
    (`CropForeground`) and arguments (`SlidingWindowInferer.mode`) that may be left out. Without `own_intensities` what
    the bundle does to the values of images does not count.
    Raises WorkloadError with everything that has no equal.
    """
    dropped = {re.sub(r"^(\w+)d(?=\.|$)", r"\1", name) for name in dropped}
    settings = Settings(task=task, pictures=pictures, multilabel=multilabel)
    problems: list[str] = []
    for part, places in PLACES.items():
        where = config.find(*places, *(f"validate{SEPARATOR}{place}" for place in places))
        if where is None:
            continue
        try:
            steps = _components(config, where)
        except WorkloadError as error:
            problems += error.problems
            continue
        key = _image_key(config, steps) if part == "preprocessing" else "pred"
        for place, item in steps:
            step = Step(config, _name(item), place, item, key, channels, classes, dimensions, settings)
            if part == "inferer" or _concerns(step, problems):
                problems += _read_step(step, dropped)
    if not own_intensities:
        settings.chain = [step for step in settings.chain if not isinstance(step, Stationary)]
    problems += _end(settings, channels)
    if problems:
        raise WorkloadError(*(f"{config.path}: {text}" if str(config.path) not in text else text for text in problems))
    return settings


def _end(settings: Settings, channels: int) -> list[str]:
    """Turn what the transforms said into fields of the pipeline; gives what does not go together, as sentences."""
    fields = settings.fields
    problems = []
    if settings.argmax:
        if "threshold" in fields:
            problems.append("AsDiscreted has an argmax and a threshold, only one can decide")
        if restored(settings) == "probabilities" and fields.get("activation") == "sigmoid":
            problems.append("Invertd between a sigmoid and an argmax has no equal here")
        fields["activation"] = "softmax"  # the largest logit has the largest probability, whatever the activation
    elif "threshold" in fields and fields.get("activation") != "sigmoid":
        problems.append("AsDiscreted.threshold must come after a sigmoid")
    fields["restore"] = restored(settings)
    fields |= chain_fields(settings.chain, channels)
    if settings.tile is not None and not any(settings.tile):
        settings.tile = None  # a window as large as the image
    if settings.size is not None and settings.tile not in (None, settings.size):
        problems.append(f"a sliding window of {settings.tile} over images resized to {settings.size} has no equal")
    settings.tile = settings.size or settings.tile
    return problems


def _components(config: Config, where: str, depth: int = 0) -> list[tuple[str, Mapping[str, Any]]]:
    """The transforms at a key with their keys, those of a Compose or a list one by one; disabled ones are left out."""
    config.count(where, depth)
    terms = config.terms(where)
    if len(terms) > 1:
        return [item for term in terms for item in _components(config, term, depth + 1)]
    where, found = config.follow(where)
    if config.is_expression(where):
        found = described(found, shown(where))
        config.put(where, found)
    if isinstance(found, Mapping) and (_name(found) == "Compose" or (TARGET not in found and "transforms" in found)):
        for argument in found:
            if argument not in COMPOSE and found[argument] not in (None, False):
                raise WorkloadError(f"{shown(where)}: a Compose with {argument}={found[argument]} has no equal here")
        return _components(config, f"{where}{SEPARATOR}transforms", depth + 1)
    if isinstance(found, list):
        return [
            item for index in range(len(found)) for item in _components(config, f"{where}{SEPARATOR}{index}", depth + 1)
        ]
    if not isinstance(found, Mapping) or not isinstance(found.get(TARGET), str):
        raise WorkloadError(
            f"{shown(where)} must be a transform with {TARGET}, or a list of them, it is {str(found)[:80]}"
        )
    disabled = found.get("_disabled_", False)
    if not isinstance(disabled, bool) and str(disabled).lower() not in ("true", "false"):
        _, disabled = config.follow(f"{where}{SEPARATOR}_disabled_")
    return [] if str(disabled).lower() == "true" else [(where, found)]


def _name(item: Mapping[str, Any]) -> str:
    """The name of a transform without package and ending: ScaleIntensityRange for ...ScaleIntensityRanged."""
    return re.sub(r"(Dict|D|d)$", "", str(item.get(TARGET)).rpartition(".")[2])


def _image_key(config: Config, steps: list[tuple[str, Mapping[str, Any]]]) -> str:
    """The key of the image: the first that the bundle loads."""
    for where, item in steps:
        if _name(item) == "LoadImage" and "keys" in item:
            keys = config.plain(f"{where}{SEPARATOR}keys")
            return str(keys[0] if isinstance(keys, list) else keys)
    return "image"


def _concerns(step: Step, problems: list[str]) -> bool:
    """Whether the transform changes the image or the prediction, not only a label or a second image."""
    if step.name in IGNORED:
        return False
    if step.name in SAVING and (step.name != "Lambda" or "decision" in step.settings.done):
        if step.name == "Lambda":
            step.settings.remarks.append(
                f"{shown(step.where)}: {step.given[TARGET]} is left out: after the decision it only changes what MONAI "
                "writes into its file"
            )
        return False
    try:
        keys = step.get("keys")
    except WorkloadError as error:
        problems += error.problems
        return False
    return keys is None or step.key in (keys if isinstance(keys, list) else [keys])


def _read_step(step: Step, dropped: Collection[str]) -> list[str]:
    if step.name in dropped:
        return []
    how = "; if the answers may differ by that, --option ignore="
    function = FUNCTIONS.get(step.name)
    target = str(step.given[TARGET])
    if function is None or (not target.startswith("monai.") and "." in target):
        return [f"{shown(step.where)}: {target} has no equal here{how}{step.name}"]
    try:
        function(step)
    except WorkloadError as error:
        return list(error.problems)
    except (ValueError, TypeError) as error:
        return [f"{shown(step.where)}: {target} cannot be followed: {error}"]
    if "dtype" not in step.used:
        step.floats()
    if step.given.get("lazy") not in (None, False):
        step.refuse("lazy", step.given["lazy"], "has no equal here, it must be false")
    step.used.add("lazy")
    for argument in step.given:
        if argument not in step.used | HARMLESS:
            step.refuse(argument, step.given[argument], "has no equal here")
    return [
        f"{shown(step.where)}: {target} with {why}{how}{step.name}.{argument}"
        for argument, why in step.refused.items()
        if f"{step.name}.{argument}" not in dropped
    ]
