"""dfu: is there an ulcer in a photo of the foot? Classification of patches.

The data folder holds pictures in sub-folders and `manifest.csv` with the columns `file` (relative to the folder),
`label` (0 skin, 1 ulcer), `split` (train, val, test or calibration) and `group` (photos that must not be parted: of one
patient, or alike); further columns become tags. Without a manifest the sub-folders `skin` and `ulcer` are the
labels, every file counts as a group of its own, and the files are split 70 / 15 / 15.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from autoopt.core.parameters import Parameter
from autoopt.errors import DataError
from autoopt.inference.pipeline import Pipeline
from autoopt.workloads.augment.dfu import augment
from autoopt.workloads.contract import SPLITS, Case, Recipe, Sample, SplitName, Workload
from autoopt.workloads.data.folder import picture_size, read_rgb
from autoopt.workloads.data.table import (
    MANIFEST,
    Row,
    assign_splits,
    build_splits,
    data_digest,
    finish_rows,
    raise_problems,
    read_table,
)
from autoopt.workloads.networks import attention, classifiers

if TYPE_CHECKING:
    import torch

SUMMARY = "foot ulcer or skin in patches of photos: classification, 128x128x3, two labels"
DEMO_WEIGHTS = Path(__file__).parent / "weights" / "dfu-demo.safetensors"
LABELS = ("skin", "ulcer")
COLUMNS = ("file", "label", "split", "group")
SUFFIXES = (".jpg", ".jpeg", ".png")
TILE = (128, 128)
MEAN, STD = (0.70, 0.53, 0.45), (0.18, 0.16, 0.15)
"""Typical of photos of skin; constants, so that the pipeline does not depend on the data."""
PIPELINE = Pipeline(
    task="classification",
    classes=len(LABELS),
    channels=3,
    tile=TILE,
    overlap=0.0,
    scale=255.0,
    mean=MEAN,
    std=STD,
    fit="resize",
)


def vit(classes: int) -> torch.nn.Module:
    """The small vision transformer with tokens of 16 x 16 pixels."""
    return attention.vit(3, classes, TILE)


@dataclass(frozen=True)
class _Net:
    build: Callable[[int], torch.nn.Module]
    epochs: int
    learning_rate: float
    coarse: bool = True


# As many epochs as two slow cores get through in a quarter of an hour.
NETS = {
    "vgg11": _Net(classifiers.vgg11, 12, 1e-3),
    "densenet121": _Net(classifiers.densenet121, 24, 1e-3),
    "efficientnet_b0": _Net(classifiers.efficientnet_b0, 40, 2e-3),
    "vit": _Net(vit, 160, 5e-4, coarse=False),  # its position embedding fits one size only
    "small_cnn": _Net(classifiers.small_cnn, 60, 3e-3),
}
NET = "densenet121"
OPTIONS: Mapping[str, Parameter] = {"net": Parameter("choice", NET, "the network", allowed=tuple(NETS))}


def workload(data: Path, net: str = NET) -> Workload:
    """The workload on the pictures in `data`. Raises DataError with everything that is wrong; decodes no pixels."""
    rows, labels = _rows(data)

    def case(row: Row) -> Case:
        return Case(row.name, row.group, lambda: read(data / row.name, labels[row.name]), row.tags)

    chosen = NETS[net]
    return Workload(
        name="dfu" if net == NET else f"dfu-{net}",
        task="classification",
        labels=LABELS,
        build=partial(build, net),
        pipeline=PIPELINE,
        splits=build_splits(rows, case),
        metrics=("accuracy", "macro_f1", "auroc", "mcc", "ece"),
        recipe=Recipe(
            epochs=chosen.epochs,
            batch=16,
            learning_rate=chosen.learning_rate,
            weight_decay=2e-2,
            max_seconds=840.0,
            augment=augment,
            coarse=chosen.coarse,
        ),
        data_digest=data_digest(data, rows, lambda row: [data / row.name]),
    )


def write_demo(folder: Path) -> None:
    """Fill `folder` with the synthetic patches, unless they are there."""
    from autoopt.workloads.demo import dfu_demo

    dfu_demo.write(folder)


def demo_options() -> Mapping[str, Any]:
    """The options of the shipped baseline."""
    return {"net": "small_cnn"}


def build(net: str = NET) -> torch.nn.Module:
    """The network called `net` with fresh weights: (n, 3, 128, 128) to logits (n, 2)."""
    return NETS[net].build(len(LABELS))


def read(path: Path, label: int) -> Sample:
    """One picture: uint8 (height, width, 3) and its label. Raises BadData naming the file."""
    return Sample(read_rgb(path), np.array(label))


def _rows(data: Path) -> tuple[list[Row], dict[str, int]]:
    """The cases and their labels. Raises DataError with everything that is wrong."""
    if not data.is_dir():
        raise DataError(f"the data folder must be a folder, {data} is {'a file' if data.exists() else 'not there'}")
    rows, labels, problems = _listed(data) if (data / MANIFEST).is_file() else _found(data)
    for row in rows:
        problem = picture_size(data / row.name)
        problems += [problem] if isinstance(problem, str) else []
    raise_problems(problems)
    rows = finish_rows(data, rows)
    for split in ("train", "val", "test"):  # calibration needs no labels
        missing = set(range(len(LABELS))) - {labels[row.name] for row in rows if row.split == split}
        problems += [
            f"{data}: {split} must have pictures of both labels, it has none of {LABELS[label]}" for label in missing
        ]
    raise_problems(problems)
    return rows, labels


def _listed(data: Path) -> tuple[list[Row], dict[str, int], list[str]]:
    lines, problems = read_table(data / MANIFEST, COLUMNS)
    rows, labels, seen = [], {}, set[str]()
    for number, line in enumerate(lines, start=2):
        faults = _line_faults(data, line, seen)
        problems += [f"{data / MANIFEST} line {number}: {fault}" for fault in faults]
        seen.add(line["file"])
        if not faults:
            tags = {key: value for key, value in line.items() if key not in COLUMNS}
            rows.append(Row(line["file"], line["group"], cast(SplitName, line["split"]), tags))
            labels[line["file"]] = int(line["label"])
    return rows, labels, problems


def _line_faults(data: Path, line: Mapping[str, str], seen: set[str]) -> list[str]:
    name, faults = line["file"], []
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts or "\\" in name:
        faults.append(f"file must be a path inside the folder, got {name!r}")
    elif name in seen:
        faults.append(f"file {name!r} is there twice")
    elif not (data / name).is_file():
        faults.append(f"there is no file {name!r}")
    if line["label"] not in ("0", "1"):
        faults.append(f"label must be 0 (skin) or 1 (ulcer), got {line['label']!r}")
    if line["split"] not in SPLITS:
        faults.append(f"split must be train, val, test or calibration, got {line['split']!r}")
    if not line["group"]:
        faults.append("group must not be empty")
    return faults


def _found(data: Path) -> tuple[list[Row], dict[str, int], list[str]]:
    """Without a manifest: the pictures in the folders of the labels."""
    labels = {
        path.relative_to(data).as_posix(): label
        for label, name in enumerate(LABELS)
        for path in sorted((data / name).glob("*"))
        if path.suffix.lower() in SUFFIXES
    }
    absent = [name for name in LABELS if not any(file.startswith(f"{name}/") for file in labels)]
    if absent:
        needed = f"{data} must hold {MANIFEST}, or pictures in the folders {' and '.join(LABELS)}"
        return [], {}, [f"{needed}: there are none in {', '.join(absent)}"]
    splits = assign_splits([(name, name) for name in labels])
    return [Row(name, name, splits[name], {}) for name in labels], labels, []
