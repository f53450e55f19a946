"""Inputs with known answers that are no patient's: seeded noise and a smooth phantom, and how far an answer may be off.

They are made of the pipeline alone, as small as it allows, whatever the task and the number of axes.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from autoopt.core.plain_text import read_bounded, short
from autoopt.errors import BundleError
from autoopt.inference.grid import WORLD
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.pipeline_settings import EIGHT_BITS
from autoopt.inference.steps.values import Affine, Clip

MOST_IMAGE_VALUES = 1 << 15
"""Of an input, unless the pipeline needs a whole tile."""
MOST_OUTPUT_VALUES = 1 << 14
"""Of the network's output: of a larger one, numbers at even distances are kept."""
MOST_FILE_BYTES = 64_000_000
"""Of an array in a bundle that is read."""
FACTOR = 8.0
"""An answer may be so many times as far off as it was when the same process was shaken, or done again."""
FLOORS = {"f32": 1e-4, "f16": 4e-3, "bf16": 3e-2}
"""The least tolerance by precision, as a fraction of the spread of the outputs: other kernels add in another order."""
FEWEST_OFF = 0.002
"""The least share of labels that may differ."""
SLICES = 2
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(rb"\{'descr': '([<|][uif][1248])', 'fortran_order': False, 'shape': \(([0-9, ]{0,200})\), \} *\n")
SHAKE = 2.0**-16
"""By which fraction the values of an input are changed, up or down, to see how much rounding matters."""


@dataclass(frozen=True)
class Golden:
    """An image (*spatial, channels) with its affine (4, 4), None where none is needed."""

    name: str
    image: np.ndarray
    affine: np.ndarray | None


@dataclass(frozen=True)
class Deviation:
    """How far two arrays of one shape differ: the share of other labels, or the root mean square and the most."""

    share: float | None = None
    rms: float | None = None
    most: float | None = None

    def to_json(self) -> dict[str, float]:
        """Plain JSON of what is known."""
        fields = {"share": self.share, "rms": self.rms, "most": self.most}
        return {name: value for name, value in fields.items() if value is not None}

    def within(self, tolerance: Mapping[str, float]) -> bool:
        """Whether no number of it is larger than that of `tolerance`, or is unknown there."""
        return all(value <= tolerance.get(name, -1.0) for name, value in self.to_json().items())

    def in_words(self, tolerance: Mapping[str, float]) -> str:
        """Such as "largest difference 0.2 (at most 0.01)"."""
        names = {"share": "share of other labels", "rms": "root mean square difference", "most": "largest difference"}
        return ", ".join(
            f"{names[name]} {value:.3g} (at most {tolerance.get(name, math.nan):.3g})"
            for name, value in self.to_json().items()
        )


def goldens(pipeline: Pipeline) -> tuple[Golden, ...]:
    """The inputs for a pipeline: the same ones every time."""
    shape = (*_sizes(pipeline), pipeline.channels)
    noise = np.random.default_rng(20).random(shape)
    affine = _affine(pipeline)
    return (
        Golden("noise", _valued(noise, pipeline), affine),
        Golden("phantom", _valued(_phantom(shape), pipeline), affine),
    )


def sampled(output: np.ndarray) -> np.ndarray:
    """An output of a network (1, ...), flat; of a large one every so many numbers, which are of all its classes."""
    flat = np.ascontiguousarray(output).reshape(-1)
    step = -(-flat.size // MOST_OUTPUT_VALUES)
    step += step % 2 == 0 and step > 1  # an odd one meets all columns of a picture
    kept = flat[::step]
    return kept if kept.dtype == np.uint8 else kept.astype(np.float32)


def shaken(batch: np.ndarray) -> np.ndarray:
    """One call's input, changed by as little as other kernels may round: see `SHAKE`; few pixels by one grey level."""
    generator = np.random.default_rng(7)
    if batch.dtype == np.uint8:
        moved = batch.astype(np.int16) + (generator.random(batch.shape) < 1 / 64)
        return np.clip(moved, 0, 255).astype(np.uint8)
    signs = generator.integers(0, 2, batch.shape, dtype=np.int8) * np.float32(2) - np.float32(1)
    return np.asarray(batch * (np.float32(1) + np.float32(SHAKE) * signs), np.float32)


def deviation(expected: np.ndarray, found: np.ndarray) -> Deviation:
    """How far `found` is from `expected`; as far as can be where the shape or the kind of numbers is another one."""
    labels = expected.dtype.kind in "biu"
    if expected.shape != found.shape or labels != (found.dtype.kind in "biu"):
        return Deviation(share=1.0) if labels else Deviation(rms=math.inf, most=math.inf)
    if labels:
        return Deviation(share=float(np.mean(expected != found)))
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    if not np.isfinite(difference).all():
        return Deviation(rms=math.inf, most=math.inf)
    return Deviation(rms=float(np.sqrt(np.mean(difference**2))), most=float(difference.max(initial=0.0)))


def tolerance(expected: np.ndarray, others: Sequence[np.ndarray], precision: str) -> dict[str, float]:
    """How far an answer may be from `expected`: `FACTOR` times as far as `others` are, and at least by rounding.

    `others` are answers of other processes and for a shaken input; `precision` is what really ran.
    """
    seen = [deviation(expected, other) for other in others]
    if expected.dtype.kind in "biu":
        return {"share": min(1.0, max([FEWEST_OFF, *(FACTOR * (item.share or 0.0) for item in seen)]))}
    floor = FLOORS.get(precision, FLOORS["bf16"]) * max(float(np.std(expected.astype(np.float64))), 1e-3)
    return {
        "rms": max([floor, *(FACTOR * (item.rms or 0.0) for item in seen)]),
        "most": max([10 * floor, *(FACTOR * (item.most or 0.0) for item in seen)]),
    }


def read_array(path: Path) -> np.ndarray:
    """An array of a bundle. Raises BundleError for a file that is not what `array_bytes` writes.

    Not by numpy, whose reader takes many forms, reserves memory for as many numbers as a header tells of, and raises
    whatever its parser raises.
    """
    try:
        data = read_bounded(path, MOST_FILE_BYTES)
        if data[: len(_MAGIC)] != _MAGIC:
            raise ValueError("it does not begin as an array does")
        begin = len(_MAGIC) + 2
        end = begin + int.from_bytes(data[len(_MAGIC) : begin], "little")
        header = _HEADER.fullmatch(data[begin:end])
        if header is None:
            raise ValueError("its header is not that of an array of numbers")
        kind = np.dtype(header[1].decode())
        shape = tuple(int(size) for size in header[2].split(b",") if size.strip())
        if math.prod(shape) * kind.itemsize != len(data) - end:
            raise ValueError(f"it has {len(data) - end} bytes, which do not make the shape {short(shape)}")
        return np.frombuffer(data, kind, offset=end).reshape(shape)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} must be an array of numbers, it is not ({error}): pull the bundle again") from error


def array_bytes(array: np.ndarray) -> bytes:
    """The content of a file for an array of numbers, in numpy's format .npy, version 1."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def affine_json(affine: np.ndarray | None) -> Any:
    """An affine as plain JSON."""
    return None if affine is None else affine.tolist()


def _sizes(pipeline: Pipeline) -> tuple[int, ...]:
    """The spatial shape of an image: the tile, or less where less is padded to it."""
    whole = pipeline.takes_pixels and pipeline.padding == "zero"
    share = MOST_IMAGE_VALUES / (pipeline.channels * (SLICES if pipeline.sliced else 1))
    most = max(2, int(share ** (1 / len(pipeline.tile))))
    plane = pipeline.tile if whole else tuple(min(size, most) for size in pipeline.tile)
    return (SLICES, *plane) if pipeline.sliced else plane


def _affine(pipeline: Pipeline) -> np.ndarray | None:
    if not pipeline.needs_affine:
        return None
    spacing = pipeline.spacing or (1.0,) * len(pipeline.tile)
    return np.diag([*(1.0,) * (WORLD - len(spacing)), *spacing, 1.0])


def _phantom(shape: tuple[int, ...]) -> np.ndarray:
    """Two smooth balls, from 0 to 1, in each channel a little further on."""
    axes = [np.linspace(-1, 1, size) for size in shape[:-1]]
    places = np.meshgrid(*axes, indexing="ij")
    channels = []
    for channel in range(shape[-1]):
        first = sum((place - 0.1 * channel) ** 2 for place in places)
        second = sum((place + 0.5) ** 2 for place in places)
        channels.append(np.exp(-3 * first) + 0.6 * np.exp(-12 * second))
    values = np.stack(channels, axis=-1)
    return np.asarray(values / values.max())


def _valued(unit: np.ndarray, pipeline: Pipeline) -> np.ndarray:
    """Values from 0 to 1 (*spatial, channels) in the range that the pipeline is made for, in a type that keeps them."""
    fixed = not pipeline.own_numbers
    limits = [(step.low, step.high) for step in pipeline.chain if isinstance(step, Clip)]
    scales = [step for step in pipeline.chain if isinstance(step, Affine)]
    if pipeline.takes_pixels or (fixed and not scales and pipeline.scale == EIGHT_BITS):
        return np.asarray(np.round(255 * unit), np.uint8)
    if limits and None not in limits[0]:
        low, high = cast("tuple[float, float]", limits[0])
        values = low + (high - low) * unit
    elif scales and max(scales[0].divide) == EIGHT_BITS:
        return np.asarray(np.round(255 * unit), np.uint8)
    elif scales:
        values = (4 * unit - 2) * scales[0].divide[0] + scales[0].subtract[0]
    elif fixed:
        values = ((4 * unit - 2) * np.asarray(pipeline.std) + np.asarray(pipeline.mean)) * pipeline.scale
    else:
        values = 1000 * unit
    small = np.abs(values).max() < np.finfo(np.float16).max
    return np.asarray(values, np.float16 if small else np.float32)
