"""dfu: is there an ulcer in a photo of the foot? Classification of patches.

The data folder holds pictures in sub-folders and `manifest.csv` with the columns `file` (relative to the folder),
`label` (0 skin, 1 ulcer), `split` (train, val, test or calibration) and `group` (the patient, or photos that look
alike: never in two splits); further columns become tags. Without a manifest the sub-folders `skin` and `ulcer` are the
labels, every file counts as a group of its own, and the files are split 70 / 15 / 15.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.core.parameters import Parameter
from autoopt.errors import BadData
from autoopt.inference.pipeline import Pipeline
from autoopt.workloads.augment.dfu import augment
from autoopt.workloads.contract import Recipe, Sample, Workload
from autoopt.workloads.data.cases import (
    Item,
    check_folder,
    data_digest,
    raise_problems,
    repeated_images,
    split_items,
    to_splits,
    unknown_patients,
)
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.manifest import MANIFEST, file_below, find_table, read_manifest
from autoopt.workloads.data.pictures import read_picture_header, read_rgb
from autoopt.workloads.data.readers import images_in
from autoopt.workloads.data.reading import Reading
from autoopt.workloads.networks import attention, classifiers

if TYPE_CHECKING:
    import torch

SUMMARY = "foot ulcer or skin in patches of photos: classification, 128x128x3, two labels"
DEMO_WEIGHTS = Path(__file__).parent / "weights" / "dfu-demo.safetensors"
LABELS = ("skin", "ulcer")
FILE, LABEL = "file", "label"
"""Columns of the manifest, beside `split` and `group`."""
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


SIZE = TILE[0]
"""Pixels along a side of a call, unless the option `size` says another one of `SIZES`."""
SIZES = (64, 128, 192, 256, 320, 384, 448, 512)


def vit(classes: int, size: int = SIZE) -> torch.nn.Module:
    """The small vision transformer with tokens of 16 x 16 pixels."""
    return attention.vit(3, classes, (size, size))


def swin(classes: int) -> torch.nn.Module:
    """The small Swin transformer."""
    return attention.swin(3, classes)


@dataclass(frozen=True)
class _Net:
    """A network: with `sized` its position embedding fits one size only, which `build` is given as `size`."""

    build: Callable[..., torch.nn.Module]
    epochs: int
    learning_rate: float
    coarse: bool = True
    sized: bool = False


# As many epochs as two slow cores train in a quarter of an hour.
NETS = {
    "vgg11": _Net(classifiers.vgg11, 12, 1e-3),
    "densenet121": _Net(classifiers.densenet121, 24, 1e-3),
    "efficientnet_b0": _Net(classifiers.efficientnet_b0, 40, 2e-3),
    "vit": _Net(vit, 160, 5e-4, coarse=False, sized=True),
    "swin": _Net(swin, 80, 5e-4, coarse=False),
    "small_cnn": _Net(classifiers.small_cnn, 60, 3e-3),
}
IMPORTS = ("monai.networks.nets",)
NET = "densenet121"
OPTIONS: Mapping[str, Parameter] = {
    "net": Parameter("choice", NET, "the network", allowed=tuple(NETS)),
    "size": Parameter("choice", SIZE, "pixels along a side of what the network sees", allowed=SIZES),
}


def workload(data: Path, net: str = NET, size: int = SIZE) -> Workload:
    """The workload on the pictures in `data`. Raises DataError with everything that is wrong; decodes no pixels."""
    items = _items(data)
    chosen = NETS[net]
    return Workload(
        name="".join(["dfu", "" if net == NET else f"-{net}", "" if size == SIZE else f"-size{size}"]),
        task="classification",
        labels=LABELS,
        build=partial(build, net) if size == SIZE else partial(build, net, size),
        pipeline=replace(PIPELINE, tile=(size, size)),
        splits=to_splits(items, lambda item: read(item.images[0].path, int(str(item.label)))),
        metrics=("accuracy", "macro_f1", "auroc", "mcc", "ece"),
        recipe=Recipe(
            epochs=chosen.epochs,
            batch=16,
            learning_rate=chosen.learning_rate,
            weight_decay=2e-2,
            augment=augment,
            coarse=chosen.coarse,
        ),
        data_digest=data_digest(data, items),
        remarks=() if find_table(data) else tuple(unknown_patients(data, items)),
        reading=Reading(colours=True, value_range=255.0),
    )


def write_demo(folder: Path) -> None:
    """Fill `folder` with the synthetic patches, unless they are there."""
    from autoopt.workloads.demo import dfu_demo

    dfu_demo.write(folder)


def demo_options() -> Mapping[str, Any]:
    """The options of the shipped baseline."""
    return {"net": "small_cnn"}


def build(net: str = NET, size: int = SIZE) -> torch.nn.Module:
    """The network called `net` with fresh weights: (n, 3, size, size) to logits (n, 2)."""
    chosen = NETS[net]
    return chosen.build(len(LABELS), size) if chosen.sized else chosen.build(len(LABELS))


def read(path: Path, label: int) -> Sample:
    """One picture: uint8 (height, width, 3) and its label. Raises BadData naming the file."""
    return Sample(read_rgb(path), np.array(label))


def _items(data: Path) -> list[Item]:
    """The cases, each with a split and the number of its class as its label. Raises DataError with all problems."""
    check_folder(data)
    problems: list[str] = []
    table = find_table(data)
    items = _found(data, problems) if table is None else _listed(table, problems)
    for item in items:
        try:
            read_picture_header(item.images[0].path)
        except BadData as error:
            problems.append(error.message)
    raise_problems(problems)
    # Not class by class, as it always was: other splits would make the same folder other data.
    return split_items(data, items, lambda chosen: _missing_labels(data, chosen), by_class=False)


def _missing_labels(data: Path, items: Sequence[Item]) -> list[str]:
    """The labels that a split lacks, as sentences; calibration needs none."""
    return [
        f"{data}: {split} must have pictures of both labels, it has none of {name}"
        for split in ("train", "val", "test")
        for label, name in enumerate(LABELS)
        if not any(item.split == split and item.label == str(label) for item in items)
    ]


def _listed(table: Path, problems: list[str]) -> list[Item]:
    """The pictures that the manifest lists."""
    manifest = read_manifest(table, problems, columns=(FILE, LABEL), group="group")
    if manifest is None:
        return []
    items = []
    for line in manifest.lines:
        faults: list[str] = []
        path = file_below(table.parent, line[FILE], f"{line.where}, {FILE}", faults)
        if line[LABEL] not in ("0", "1"):
            faults.append(f"{line.where}: {LABEL} must be 0 (skin) or 1 (ulcer), got {line[LABEL]!r}")
        group, split = manifest.group_and_split(line, line[FILE], faults)
        problems += faults
        if path is not None and not faults:
            tags = manifest.tags(line, FILE, LABEL)
            items.append(Item(line[FILE], group, split, (Source(path),), line[LABEL], tags, line.where))
    problems += repeated_images(items)
    return items


def _found(data: Path, problems: list[str]) -> list[Item]:
    """Without a manifest: the pictures in the folders of the labels."""
    pictures = {name: images_in(data / name) if (data / name).is_dir() else [] for name in LABELS}
    absent = [name for name, paths in pictures.items() if not paths]
    if absent:
        needed = f"{data} must hold {MANIFEST}, or pictures in the folders {' and '.join(LABELS)}"
        problems.append(f"{needed}: there are none in {', '.join(absent)}")
        return []
    return [
        Item(name, name, None, (Source(path),), str(label))
        for label, paths in enumerate(pictures.values())
        for path in paths
        for name in [path.relative_to(data).as_posix()]
    ]
