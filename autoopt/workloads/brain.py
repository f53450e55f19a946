"""brain: brain extraction from MR heads of any contrast (T1w, T2w, FLAIR) with the 3D ResUNet of the published study.

The data folder holds images/NAME.nii.gz and masks/NAME_brainmask.nii.gz (or masks/NAME.nii.gz; 1 is brain, 0 is
not), each mask on the grid of its image. `manifest.csv` lists every image: the columns `name` (without .nii.gz),
`patient` and `split` (train, val, test or calibration), and, where a mask does not cover the whole image,
`first_full_slice` and `last_full_slice`, counted from 0 along the last stored axis: what lies outside is neither
trained nor scored. Further columns become tags. All volumes of a patient are in one split. Without a manifest every
file counts as a patient of its own, which is wrong where there are several of one person, and the files are split
70 / 15 / 15.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.core.configuration import digest
from autoopt.core.parameters import Parameter
from autoopt.inference.pipeline import Pipeline
from autoopt.workloads.augment.brain import augment
from autoopt.workloads.contract import IGNORED, Recipe, Sample, Workload
from autoopt.workloads.data.cases import Item, check_folder, data_digest, raise_problems, split_items, to_splits
from autoopt.workloads.data.headers import open_pair
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.layouts.pairs import find_pairs
from autoopt.workloads.data.readers import suffixes_read_by
from autoopt.workloads.data.reading import AS_STORED
from autoopt.workloads.data.volumes import check_same_grid, open_volume, read_header, read_mask, read_volume
from autoopt.workloads.networks import attention
from autoopt.workloads.networks.resunet import DIVISOR, build_resunet

if TYPE_CHECKING:
    import torch

SUMMARY = "brain extraction from MR heads of any contrast: 3D ResUNet, 96x96x64 voxels of 2 mm, two labels"
DEMO_WEIGHTS = Path(__file__).parent / "weights" / "brain-demo.safetensors"
WIDTH, SPACING_MM = 8, 2.0
RESUNET, SWIN_UNETR = "resunet", "swin_unetr"
OPTIONS: Mapping[str, Parameter] = {
    "net": Parameter(
        "choice",
        RESUNET,
        "the network: the ResUNet of the study, or a transformer, Swin UNETR",
        allowed=(RESUNET, SWIN_UNETR),
    ),
    "width": Parameter(
        "integer", WIDTH, "channels of the ResUNet at full resolution; the published study has 16", low=2, high=64
    ),
    "spacing_mm": Parameter(
        "number",
        SPACING_MM,
        "voxel size that the network works on, in mm; the published study has 1, at eight times the cost",
        low=1.0,
        high=4.0,
    ),
}
DIVISORS = {RESUNET: DIVISOR, SWIN_UNETR: 32}
"""By network: the sizes of a tile must be multiples of this."""
LABELS = ("background", "brain")
MASK_ENDINGS = ("_brainmask", "")
"""What the name of a mask may have after that of its image."""
FIRST_SLICE, LAST_SLICE = "first_full_slice", "last_full_slice"
FIELD_MM = (256.0, 256.0, 160.0)
"""The field of view of nearly every clinical head scan, in RAS order."""
LARGEST_TILE = 128
"""The published size; larger tiles need gigabytes."""
TRAINING_SHARE = 0.85
"""The share of the field of view that a tile covers, in training as in use: instance norm depends on how much of a
tile is air."""
EPOCHS, SAMPLES_PER_EPOCH = 24, 48
LEARNING_RATE = 2e-3
"""For the default width. A narrower net needs more and larger steps, and each of them is cheaper."""
ATTENDING_RATE = 1e-3
"""For the transformer, which does not learn with larger steps."""
OVERLAP = 0.25

Slices = tuple[int, int]


def workload(data: Path, width: int = WIDTH, spacing_mm: float = SPACING_MM, net: str = RESUNET) -> Workload:
    """The workload on the volumes in `data`: a `net` of `width` channels that works on voxels of `spacing_mm`.

    What is timed is a whole case, resampling and post-processing included. Raises DataError with everything that is
    wrong with names, manifest and headers; decodes no voxels.
    """
    remarks: list[str] = []
    items, slices = _items(data, remarks)
    narrower = WIDTH / width if net == RESUNET else 1.0
    learning_rate = LEARNING_RATE * narrower if net == RESUNET else ATTENDING_RATE
    training = sum(item.split in ("train", "calibration") for item in items)
    return Workload(
        name=_name(width, spacing_mm, net),
        task="segmentation",
        labels=LABELS,
        build=partial(build, width, net),
        pipeline=pipeline(spacing_mm, net),
        splits=to_splits(items, lambda item: _read_item(item, slices.get(item.name))),
        metrics=("dice_foreground", "hd95_mm", "volume_difference"),
        recipe=Recipe(
            epochs=round(EPOCHS * max(1.0, narrower)),
            batch=2,
            learning_rate=learning_rate,
            weight_decay=1e-2,
            augment=augment,
            repeats=max(1, round(SAMPLES_PER_EPOCH / training)),
            coarse=False,
        ),
        data_digest=digest([data_digest(data, items), {name: list(pair) for name, pair in slices.items()}]),
        remarks=tuple(remarks),
        latency="case",
        reading=AS_STORED,
    )


def write_demo(folder: Path) -> None:
    """Fill `folder` with the synthetic heads, unless they are there."""
    from autoopt.workloads.demo import brain_demo

    brain_demo.write(folder)


def demo_options() -> Mapping[str, Any]:
    """The options of the shipped baseline: a ResUNet of half a million parameters on voxels of 3 mm."""
    return {"width": 4, "spacing_mm": 3.0}


def build(width: int = WIDTH, net: str = RESUNET) -> torch.nn.Module:
    """The network with fresh weights: (n, 1, *tile) to logits (n, 2, *tile); `width` is that of the ResUNet."""
    if net == SWIN_UNETR:
        return attention.swin_unetr(1, len(LABELS), 3)
    return build_resunet(1, len(LABELS), width)


def pipeline(spacing_mm: float = SPACING_MM, net: str = RESUNET) -> Pipeline:
    """The published pipeline (Thakur et al. 2022): resample to `spacing_mm`, clip and scale, tile, clean up."""
    return Pipeline(
        task="segmentation",
        classes=len(LABELS),
        channels=1,
        tile=_tile(spacing_mm, DIVISORS[net]),
        overlap=OVERLAP,
        scale=1.0,
        mean=(0.0,),
        std=(1.0,),
        intensity="percentile",
        percentiles=(2.0, 95.0),
        orientation="RAS",
        spacing_mm=(spacing_mm,) * 3,
        fill_holes=True,
        largest_component=True,
    )


def read(image_path: Path, mask_path: Path, slices: Slices | None = None) -> Sample:
    """One head: (x, y, z, 1), its brain mask, `IGNORED` outside the first and last of `slices`, and its affine.

    Raises BadData naming the file.
    """
    image, affine = read_volume(image_path)
    header = read_header(mask_path)
    check_same_grid(image_path, image.shape, affine, mask_path, header.shape, header.affine)
    mask = read_mask(mask_path, range(len(LABELS)))
    if slices is not None:
        first, last = slices
        mask[..., :first] = IGNORED
        mask[..., last + 1 :] = IGNORED
    return Sample(image[..., np.newaxis], mask, affine)


def _name(width: int, spacing_mm: float, net: str) -> str:
    parts = ["brain", *([net] if net != RESUNET else []), *([f"w{width}"] if width != WIDTH else [])]
    return "-".join([*parts, *([f"{spacing_mm:g}mm"] if spacing_mm != SPACING_MM else [])])


def _tile(spacing_mm: float, divisor: int) -> tuple[int, ...]:
    """The size of a tile: the largest multiples of `divisor` within `TRAINING_SHARE` of the field, up to a limit."""
    whole = (math.ceil(min(field / spacing_mm, LARGEST_TILE) / divisor) * divisor for field in FIELD_MM)
    return tuple(max(1, int(size * TRAINING_SHARE) // divisor) * divisor for size in whole)


def _items(data: Path, remarks: list[str]) -> tuple[list[Item], dict[str, Slices]]:
    """All cases of the folder, and the slices that may be used of those whose mask is not whole."""
    check_folder(data)
    problems: list[str] = []
    slices: dict[str, Slices] = {}
    items = []
    suffixes = suffixes_read_by(open_volume)
    for item in find_pairs(
        data, problems, suffixes=suffixes, mask_endings=MASK_ENDINGS, group="patient", remarks=remarks
    ):
        image = open_pair(item, problems)
        try:
            usable = None if image is None else _slices(item.tags, image.shape[-1])
        except ValueError as error:
            problems.append(f"{item.where}: {error}")
            continue
        if usable is not None:
            slices[item.name] = usable
        tags = {name: value for name, value in item.tags.items() if name not in (FIRST_SLICE, LAST_SLICE)}
        items.append(replace(item, tags=tags))
    raise_problems(problems)
    return split_items(data, items), slices


def _read_item(item: Item, slices: Slices | None) -> Sample:
    assert isinstance(item.label, Source)
    return read(item.images[0].path, item.label.path, slices)


def _slices(columns: Mapping[str, str], count: int) -> Slices | None:
    """The first and last slice that may be used, None for all. Raises ValueError as the rest of a sentence."""
    texts = (columns.get(FIRST_SLICE, ""), columns.get(LAST_SLICE, ""))
    try:
        first, last = int(texts[0] or 0), int(texts[1] or count - 1)
    except ValueError:
        first, last = -1, -1
    if not 0 <= first <= last < count:
        raise ValueError(
            f"{FIRST_SLICE} and {LAST_SLICE} must be whole numbers from 0 to {count - 1}, not falling, got "
            f"{texts[0]!r} and {texts[1]!r}"
        )
    return None if (first, last) == (0, count - 1) else (first, last)
