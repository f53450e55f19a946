"""cardiac: short-axis cine MRI with both ventricles and the myocardium, a 2D U-Net of 31 million parameters by slice.

The data folder holds NAME.npz files with the arrays `image` (slices, height, width), real numbers, and `label` of the
same shape, integers: 0 background, 1 right ventricle cavity, 2 myocardium, 3 left ventricle cavity. `manifest.csv`
lists every file: the columns `name` (without .npz), `patient` and `split` (train, val, test or calibration); further
columns become tags. All stacks of a patient are in one split.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.core.parameters import Parameter
from autoopt.errors import BadData, DataError
from autoopt.inference.pipeline import Pipeline
from autoopt.workloads.augment.cardiac import augment
from autoopt.workloads.contract import Recipe, Sample, Workload
from autoopt.workloads.data.arrays import read_arrays
from autoopt.workloads.data.cases import Item, check_folder, data_digest, raise_problems, split_items, to_splits
from autoopt.workloads.data.layouts.archives import find_archives
from autoopt.workloads.data.manifest import MANIFEST, find_table
from autoopt.workloads.data.reading import AS_STORED
from autoopt.workloads.networks.unet import build_unet

if TYPE_CHECKING:
    import torch

SUMMARY = "heart segmentation of short-axis cine MRI: 2D U-Net slice by slice, 160x160x1, four labels"
DEMO_WEIGHTS = Path(__file__).parent / "weights" / "cardiac-demo.safetensors"
BASE = 64
EPOCHS, FEWEST_EPOCHS, MOST_EPOCHS = 10, 4, 60
"""Epochs for `BASE` channels; the fewest for wider networks and the most for narrower ones."""
OPTIONS: Mapping[str, Parameter] = {
    "base": Parameter(
        "integer", BASE, "channels of the U-Net's first block; 64 makes 31 million parameters", low=4, high=128
    )
}
LABELS = ("background", "rv", "myocardium", "lv")
TILE = (160, 160)
"""The heart is in the middle of a short-axis image: in the public training stacks no label is further than 62 pixels
from it, so this leaves a margin of 18."""

PIPELINE = Pipeline(
    task="segmentation",
    classes=len(LABELS),
    channels=1,
    tile=TILE,
    overlap=0.0,
    scale=1.0,
    mean=(0.25,),
    std=(0.25,),
    intensity="percentile",
    percentiles=(1.0, 99.0),
    fit="center",
    sliced=True,
)
"""Intensities of MRI have no unit, so each stack is scaled by its own percentiles. No spacing: the files have none, and
the network works slice by slice anyway, because slices lie much further apart than pixels."""


def workload(data: Path, base: int = BASE) -> Workload:
    """The workload on the stacks in `data`, with a U-Net whose first block has `base` channels.

    What is timed is one network call, one slice: a stack is 6 to 17 of these calls, so the time of a stack would say as
    much about the patient as about the model. Raises DataError with everything that is wrong; opens no stack.
    """
    items = _items(data)
    return Workload(
        name="cardiac" if base == BASE else f"cardiac-base{base}",
        task="segmentation",
        labels=LABELS,
        build=partial(build, base),
        pipeline=PIPELINE,
        splits=to_splits(items, lambda item: read(item.images[0].path)),
        metrics=("dice_foreground", "dice_rv", "dice_myocardium", "dice_lv", "hd95_px"),
        recipe=recipe(base),
        data_digest=data_digest(data, items),
        latency="call",
        reading=AS_STORED,
    )


def recipe(base: int) -> Recipe:
    """How the U-Net whose first block has `base` channels is trained.

    With 31 million parameters a window takes about 1.4 s on two cores with AVX2: 10 epochs of 8 slices a stack take 40
    minutes. A narrower network has time for more. Windows have a good half of the tile's area: as much context as a
    heart needs, shifted at random, and more of them in the same time. In short trials of narrow networks on the public
    training stacks such windows were better than whole tiles for the same time, batches of 4 better than of 8, and the
    learning rate had to be higher than what is usual for the wide network.
    """
    return Recipe(
        epochs=min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(EPOCHS * (BASE / base) ** 2))),
        batch=4,
        learning_rate=1e-3 * math.sqrt(BASE / base),
        weight_decay=1e-2,
        augment=augment,
        repeats=8,
        tile=(128, 128),
    )


def write_demo(folder: Path) -> None:
    """Fill `folder` with the synthetic stacks, unless they are there."""
    from autoopt.workloads.demo import cardiac_demo

    cardiac_demo.write(folder)


def demo_options() -> Mapping[str, Any]:
    """The options of the shipped baseline: a U-Net of half a million parameters."""
    return {"base": 8}


def build(base: int = BASE) -> torch.nn.Module:
    """The U-Net with fresh weights: (n, 1, 160, 160) to logits (n, 4, 160, 160)."""
    return build_unet(PIPELINE.channels, PIPELINE.classes, base)


def read(path: Path) -> Sample:
    """One stack: float32 (slices, height, width, 1) and its label map. Raises BadData naming the file."""
    image, label = read_arrays(path, ("image", "label"))
    if image.ndim != 3 or image.size == 0:
        raise BadData(f"{path}: image must be (slices, height, width) and no size may be 0, it is {image.shape}")
    if label.shape != image.shape:
        raise BadData(f"{path}: label must be as large as the image, {image.shape}, it is {label.shape}")
    if image.dtype.kind not in "buif":
        raise BadData(f"{path}: image must hold real numbers, it holds {image.dtype}")
    if label.dtype.kind not in "bui":
        raise BadData(f"{path}: label must hold integers, it holds {label.dtype}")
    if not np.isfinite(image).all():
        raise BadData(f"{path}: image must hold finite numbers, it holds NaN or infinity")
    if label.min() < 0 or label.max() >= len(LABELS):
        raise BadData(f"{path}: label must be 0 to {len(LABELS) - 1}, it is {label.min()} to {label.max()}")
    return Sample(image.astype(np.float32)[..., np.newaxis], label.astype(np.uint8))


def _items(data: Path) -> list[Item]:
    """The cases that the manifest lists, each with a split. Opens no stack."""
    check_folder(data)
    if find_table(data) is None:
        raise DataError(f"{data} must hold {MANIFEST} with the columns name, patient, split, it is not there")
    problems: list[str] = []
    items = find_archives(data, problems, group="patient")
    raise_problems(problems)
    return split_items(data, items)
