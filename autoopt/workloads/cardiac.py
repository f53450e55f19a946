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
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from autoopt.core.parameters import Parameter
from autoopt.errors import BadData, DataError
from autoopt.inference.pipeline import Pipeline
from autoopt.workloads.augment.cardiac import augment
from autoopt.workloads.contract import SPLITS, Case, Recipe, Sample, SplitName, Workload
from autoopt.workloads.data.table import (
    MANIFEST,
    Row,
    build_splits,
    data_digest,
    finish_rows,
    raise_problems,
    read_table,
)
from autoopt.workloads.networks.unet import build_unet

if TYPE_CHECKING:
    import torch

SUMMARY = "heart segmentation of short-axis cine MRI: 2D U-Net slice by slice, 160x160x1, four labels"
DEMO_WEIGHTS = Path(__file__).parent / "weights" / "cardiac-demo.safetensors"
BASE = 64
EPOCHS, FEWEST_EPOCHS, MOST_EPOCHS = 10, 4, 60
"""Of a net with `BASE` channels, of wider and of narrower ones."""
OPTIONS: Mapping[str, Parameter] = {
    "base": Parameter(
        "integer", BASE, "channels of the U-Net's first block; 64 makes 31 million parameters", low=4, high=128
    )
}
LABELS = ("background", "rv", "myocardium", "lv")
COLUMNS = ("name", "patient", "split")
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
"""Values of MRI mean nothing by themselves: each stack is scaled by its own percentiles. No spacing: the files have
none, and the network sees one slice at a time anyway, because slices lie much further apart than pixels."""


def workload(data: Path, base: int = BASE) -> Workload:
    """The workload on the stacks in `data`, with a U-Net whose first block has `base` channels.

    Its latency is that of one network call, one slice: a stack is 6 to 17 of these calls, one after the other, so the
    time of a stack says as much about the patient as about the model. Raises DataError with everything that is wrong.
    """
    rows = _rows(data)

    def files(row: Row) -> tuple[Path]:
        return (data / f"{row.name}.npz",)

    def case(row: Row) -> Case:
        return Case(row.name, row.group, lambda: read(*files(row)), row.tags)

    return Workload(
        name="cardiac" if base == BASE else f"cardiac-base{base}",
        task="segmentation",
        labels=LABELS,
        build=partial(build, base),
        pipeline=PIPELINE,
        splits=build_splits(rows, case),
        metrics=("dice_foreground", "dice_rv", "dice_myocardium", "dice_lv", "hd95_px"),
        recipe=recipe(base),
        data_digest=data_digest(data, rows, files),
        latency="call",
    )


def recipe(base: int) -> Recipe:
    """How the U-Net whose first block has `base` channels is trained.

    With 31 million parameters a window takes about 1.4 s on two cores with AVX2: 10 epochs of 8 slices a stack are 40
    minutes. A narrower net may see more. Windows are a good half of the tile's area: as much context as a heart
    needs, shifted at random, and more of them in the time. In short trials of narrow nets on the public training
    stacks such windows were better than whole tiles for the same time, batches of 4 better than of 8, and the learning
    rate had to be higher than what is usual for the wide net.
    """
    return Recipe(
        epochs=min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(EPOCHS * (BASE / base) ** 2))),
        batch=4,
        learning_rate=1e-3 * math.sqrt(BASE / base),
        weight_decay=1e-2,
        max_seconds=2340.0,
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
    image, label = _arrays(path)
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


def _rows(data: Path) -> list[Row]:
    """The cases that the manifest lists. Raises DataError with everything that is wrong with it and the files."""
    if not data.is_dir():
        raise DataError(f"the data folder must be a folder, {data} is {'a file' if data.exists() else 'not there'}")
    manifest = data / MANIFEST
    if not manifest.is_file():
        raise DataError(f"{data} must hold {MANIFEST} with the columns {', '.join(COLUMNS)}, it is not there")
    lines, problems = read_table(manifest, COLUMNS)
    raise_problems(problems)
    there = {path.stem for path in data.glob("*.npz")}
    rows, seen = [], set[str]()
    for number, line in enumerate(lines, start=2):
        faults = _line_faults(line, seen, there)
        problems += [f"{manifest} line {number}: {fault}" for fault in faults]
        seen.add(line["name"])
        if not faults:
            tags = {key: value for key, value in line.items() if key not in COLUMNS}
            rows.append(Row(line["name"], line["patient"], cast(SplitName, line["split"]), tags))
    problems += [f"{manifest} must list every stack, {name}.npz is missing" for name in sorted(there - seen)]
    raise_problems(problems)
    return finish_rows(manifest, rows)


def _line_faults(line: Mapping[str, str], seen: set[str], there: set[str]) -> list[str]:
    name, patient, split = (line[column] for column in COLUMNS)
    faults = []
    if name in seen:
        faults.append(f"name {name!r} is there twice")
    elif name not in there:
        faults.append(f"name must be that of a file of the folder without .npz; there is no {name!r}")
    if not patient:
        faults.append("patient must not be empty")
    if split not in SPLITS:
        faults.append(f"split must be train, val, test or calibration, got {split!r}")
    return faults


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The two arrays of a file."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            there = list(arrays)
            if {"image", "label"} <= set(there):
                return arrays["image"], arrays["label"]
    except Exception as error:  # the readers of zip, zlib and numpy raise many kinds for broken files: name the file
        raise BadData(f"{path} must be an npz file that can be read: {error}") from error
    raise BadData(f"{path} must hold the arrays image and label, it holds {', '.join(there) or 'none'}")
