"""histo: gland and lesion segmentation of H&E-stained biopsy tiles with a 2D U-Net of 2 million parameters.

The data folder holds images/NAME.png and masks/NAME.png (or other pictures), masks grey with soft edges: brighter than
127 is gland. `manifest.csv` lists every image: the columns `name` (without .png), `case` (the patient) and `split`
(train, val, test or calibration); further columns become tags. Without a manifest every file counts as a patient of its
own, which is wrong where there are several of one patient, and the files are split 70 / 15 / 15.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.core.parameters import Parameter
from autoopt.errors import BadData
from autoopt.inference.pipeline import Pipeline
from autoopt.workloads.augment.histo import augment
from autoopt.workloads.contract import Recipe, Sample, Workload
from autoopt.workloads.data.cases import Item, check_folder, data_digest, raise_problems, split_items, to_splits
from autoopt.workloads.data.headers import open_pair
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.layouts.pairs import find_pairs
from autoopt.workloads.data.pictures import open_picture, read_grey, read_rgb
from autoopt.workloads.data.readers import suffixes_read_by
from autoopt.workloads.data.reading import Reading
from autoopt.workloads.networks import attention

if TYPE_CHECKING:
    import torch

SUMMARY = "gland segmentation of H&E tiles: 2D U-Net, 224x224x3, two labels"
DEMO_WEIGHTS = Path(__file__).parent / "weights" / "histo-demo.safetensors"
IMPORTS = ("monai.networks.nets",)
NET = "unet"
OPTIONS: Mapping[str, Parameter] = {
    "net": Parameter("choice", NET, "the network: a U-Net, or one with linear attention", allowed=(NET, "linear_unet")),
}
LABELS = ("background", "gland")
TILE = (224, 224)
MASK_THRESHOLD = 127
"""Masks are grey with soft edges: brighter is gland."""
FAINT_SHARE = 0.01
"""Where more than this share of a mask is 1 and nothing is brighter, that is no soft edge but the number of a label."""
MEAN = (0.70, 0.52, 0.68)
STD = (0.18, 0.20, 0.16)
"""Typical of H&E tiles; constants, so that the pipeline does not depend on the data."""

PIPELINE = Pipeline(
    task="segmentation", classes=2, channels=3, tile=TILE, overlap=0.25, scale=255.0, mean=MEAN, std=STD
)


def workload(data: Path, net: str = NET) -> Workload:
    """The workload on the tiles in `data`. Raises DataError with everything that is wrong; decodes no pixels."""
    remarks: list[str] = []
    items = _items(data, remarks)
    return Workload(
        name="histo" if net == NET else f"histo-{net}",
        task="segmentation",
        labels=LABELS,
        build=BUILDERS[net],
        pipeline=PIPELINE,
        splits=to_splits(items, _read_item),
        metrics=("dice_macro", "dice_foreground", "iou_foreground"),
        recipe=Recipe(epochs=12, batch=4, learning_rate=2e-3, weight_decay=1e-2, augment=augment),
        data_digest=data_digest(data, items),
        remarks=tuple(remarks),
        reading=Reading(colours=True, value_range=255.0),
    )


def write_demo(folder: Path) -> None:
    """Fill `folder` with the synthetic tiles, unless they are there."""
    from autoopt.workloads.demo import histo_demo

    histo_demo.write(folder)


def demo_options() -> Mapping[str, Any]:
    """The options of the shipped baseline."""
    return {}


def build() -> torch.nn.Module:
    """The U-Net with fresh weights: (n, 3, 224, 224) to logits (n, 2, 224, 224)."""
    from monai.networks.nets import BasicUNet

    net: torch.nn.Module = BasicUNet(
        spatial_dims=2, in_channels=3, out_channels=len(LABELS), features=(32, 32, 64, 128, 256, 32), norm="batch"
    )
    return net


def build_linear_unet() -> torch.nn.Module:
    """The U-Net with linear attention and fresh weights: the same shapes, 0.6 million parameters."""
    return attention.linear_unet(PIPELINE.channels, len(LABELS))


BUILDERS = {NET: build, "linear_unet": build_linear_unet}


def read(image: Path, mask: Path) -> Sample:
    """One tile: uint8 (height, width, 3) and its label map. Raises BadData naming the file."""
    pixels, grey = read_rgb(image), read_grey(mask)
    if grey.shape != pixels.shape[:2]:
        raise BadData(f"{mask} must be as large as its image, {pixels.shape[:2]}, it is {grey.shape}")
    if grey.max(initial=0) == 1 and grey.mean() > FAINT_SHARE:
        raise BadData(
            f"{mask} must be brighter than {MASK_THRESHOLD} where gland is, it holds 0 and 1: multiply by 255"
        )
    return Sample(pixels, (grey > MASK_THRESHOLD).astype(np.uint8))


def _items(data: Path, remarks: list[str]) -> list[Item]:
    check_folder(data)
    problems: list[str] = []
    items = find_pairs(data, problems, suffixes=suffixes_read_by(open_picture), group="case", remarks=remarks)
    for item in items:
        open_pair(item, problems)
    raise_problems(problems)
    return split_items(data, items)


def _read_item(item: Item) -> Sample:
    assert isinstance(item.label, Source)
    return read(item.images[0].path, item.label.path)
