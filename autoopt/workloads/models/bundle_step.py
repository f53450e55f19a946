"""One transform of a MONAI bundle, and the settings that all transforms together mean."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from autoopt.inference.steps.axes import Orient
from autoopt.inference.steps.base import Step as PipelineStep
from autoopt.inference.steps.foreground import CropForeground
from autoopt.inference.steps.resample import Resample, Resize
from autoopt.workloads.models.bundle_config import SEPARATOR, Config

PER_KEY = {
    "mode",
    "padding_mode",
    "align_corners",
    "dtype",
    "nearest_interp",
    "argmax",
    "threshold",
    "to_onehot",
    "rounding",
    "sigmoid",
    "softmax",
    "other",
}
"""Arguments of which a transform of several keys may have one per key."""
FLOATS = re.compile(r"\$?((np|numpy|torch)\.)?(float|float32|float64|double)|None")
"""How a configuration writes the types of numbers that lose nothing here; the text is looked at and never run."""


@dataclass
class Settings:
    """What a bundle says: fields of the pipeline, and the size of a network call in `tile`.

    `chain` is what happens to the image, in order. `task`, `pictures` and `multilabel` are what the bundle is used for.
    `done` has what happens to the prediction, in order; `onehot` says
    that it has one channel per label, `untracked` that the image has lost its affine. `remarks` are what users should
    be told, a sentence each.
    """

    task: str = "segmentation"
    pictures: bool | None = False
    multilabel: bool = False

    fields: dict[str, Any] = field(default_factory=dict)
    tile: tuple[int | None, ...] | None = None
    chain: list[PipelineStep] = field(default_factory=list)
    argmax: bool = False
    onehot: bool = False
    untracked: bool = False
    done: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def resampled(self) -> bool:
        """Whether the network's grid has other voxels than the image, so far."""
        return any(isinstance(step, Resample | Resize) for step in self.chain)

    @property
    def size(self) -> tuple[int, ...] | None:
        """The size that every image is resized to, or None."""
        return next((step.sizes for step in self.chain if isinstance(step, Resize)), None)

    @property
    def moved(self) -> bool:
        """Whether images have another size than their files say before the network sees them."""
        return any(isinstance(step, Orient | Resample | CropForeground) for step in self.chain)


@dataclass
class Step:
    """One transform: its name without the final d, its key in the configuration, and its arguments by name."""

    config: Config
    name: str
    where: str
    given: Mapping[str, Any]
    key: str
    channels: int
    classes: int
    dimensions: int
    settings: Settings
    refused: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def get(self, argument: str, default: Any = None) -> Any:
        """The argument as plain data; where it has one value per key, the value of our key."""
        self.used.add(argument)
        if argument not in self.given:
            return default
        value = self.config.plain(f"{self.where}{SEPARATOR}{argument}")
        keys = self.config.plain(f"{self.where}{SEPARATOR}keys") if "keys" in self.given else ""
        if isinstance(value, list) and isinstance(keys, list) and len(keys) == len(value) and argument in PER_KEY:
            return value[keys.index(self.key)]
        return value

    def flag(self, argument: str, default: bool = False) -> bool:
        """The argument as true or false; a text that is not empty is true, as MONAI takes it (`"False"` too)."""
        return bool(self.get(argument, default))

    def text(self, argument: str, default: str) -> str:
        """The argument as it is written; an expression is not run."""
        self.used.add(argument)
        written = self.given.get(argument, default)
        if isinstance(written, str) and written.startswith("$"):
            return written
        return str(self.get(argument, default))

    def floats(self) -> None:
        """Refuse a `dtype` that numbers lose something in."""
        if "dtype" in self.given and not FLOATS.fullmatch(text := self.text("dtype", "float32")):
            self.refuse("dtype", text, "has no equal here, it must be float32 or float64")

    def only(self, argument: str, allowed: Collection[Any], default: Any) -> None:
        """Refuse the argument unless it has one of the values."""
        value = self.get(argument, default)
        if not any(value == item and type(value) is type(item) for item in allowed):
            self.refuse(argument, value, f"has no equal here, it must be {' or '.join(map(str, allowed))}")

    def refuse(self, argument: str, value: Any, why: str) -> None:
        """Note that the argument has no equal here with this value."""
        self.refused[argument] = f"{argument}={str(value)[:80]} {why}"

    def numbers(self, argument: str, count: int, default: Any = None) -> list[float]:
        """The argument as `count` numbers; a single number stands for all. Raises ValueError."""
        value = self.get(argument, default)
        values = list(value) if isinstance(value, list | tuple) else [value] * count
        if len(values) != count or any(isinstance(item, bool) or not isinstance(item, int | float) for item in values):
            raise ValueError(f"{argument} must be one number or {count}, it is {value}")
        if not all(math.isfinite(item) for item in values):
            raise ValueError(f"{argument} must be finite, it is {value}")
        return [float(item) for item in values]
