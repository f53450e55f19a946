"""histo: gland and lesion segmentation of H&E-stained biopsy tiles with a 2D U-Net of 2 million parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoopt.errors import BadData
from autoopt.infer import Pipeline
from autoopt.workload import Recipe, Sample, Workload
from autoopt.workloads.folder import load_folder, read_grey, read_rgb

if TYPE_CHECKING:
    import torch

SUMMARY = "gland segmentation of H&E tiles: 2D U-Net, 224x224x3, two labels"
DEMO_WEIGHTS = Path(__file__).parent / "weights" / "histo-demo.safetensors"
LABELS = ("background", "gland")
TILE = (224, 224)
MASK_THRESHOLD = 127
"""Masks are grey with soft edges: brighter is gland."""
MEAN = (0.70, 0.52, 0.68)
STD = (0.18, 0.20, 0.16)
"""Typical of H&E tiles; constants, so that the pipeline does not depend on the data."""

PIPELINE = Pipeline(
    task="segmentation", classes=2, channels=3, tile=TILE, overlap=0.25, scale=255.0, mean=MEAN, std=STD
)  # fmt: skip


def workload(data: Path) -> Workload:
    """The workload on the tiles in `data` (see `folder`). Raises DataError with everything that is wrong."""
    cases = load_folder(data, read)
    return Workload(
        name="histo",
        task="segmentation",
        labels=LABELS,
        build=build,
        pipeline=PIPELINE,
        splits=cases.splits,
        metrics=("dice_macro", "dice_foreground", "iou_foreground"),
        recipe=Recipe(epochs=22, batch=8, learning_rate=2e-3, weight_decay=1e-2, max_seconds=840.0, augment=augment),
        data_digest=cases.digest,
    )


def write_demo(folder: Path) -> None:
    """Fill `folder` with the synthetic tiles, unless they are there."""
    from autoopt.workloads import histo_demo

    histo_demo.write(folder)


def build() -> torch.nn.Module:
    """The U-Net with fresh weights: (n, 3, 224, 224) to logits (n, 2, 224, 224)."""
    from monai.networks.nets import BasicUNet

    net: torch.nn.Module = BasicUNet(
        spatial_dims=2, in_channels=3, out_channels=len(LABELS), features=(32, 32, 64, 128, 256, 32), norm="batch"
    )
    return net


def read(image: Path, mask: Path) -> Sample:
    """One tile: uint8 (height, width, 3) and its label map. Raises BadData naming the file."""
    pixels, grey = read_rgb(image), read_grey(mask)
    if grey.shape != pixels.shape[:2]:
        raise BadData(f"{mask} must be as large as its image, {pixels.shape[:2]}, it is {grey.shape}")
    return Sample(pixels, (grey > MASK_THRESHOLD).astype(np.uint8))


def augment(sample: Sample, random: np.random.Generator) -> Sample:
    """Another tile: turned, mirrored, scaled, and stained and lit a little differently."""
    image, mask = _move(sample.image, sample.reference, random)
    return Sample(_stain(image, random), mask)


def _move(image: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random affine map with bilinear sampling; outside the tile it is mirrored."""
    height, width = mask.shape
    angle = random.uniform(0, 2 * np.pi)
    scale_y, scale_x = np.exp(random.uniform(-0.25, 0.25) + random.uniform(-0.1, 0.1, size=2))
    flip = random.choice([-1.0, 1.0])
    rows, columns = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    y = (np.cos(angle) * rows - np.sin(angle) * columns) * scale_y + (height - 1) / 2
    x = (np.sin(angle) * rows + np.cos(angle) * columns) * scale_x * flip + (width - 1) / 2
    y, x = _mirrored(y, height), _mirrored(x, width)
    top, left = np.minimum(y.astype(int), height - 2), np.minimum(x.astype(int), width - 2)
    down, right = (y - top)[..., np.newaxis].astype(np.float32), (x - left)[..., np.newaxis].astype(np.float32)
    pixels = image.astype(np.float32)
    upper = pixels[top, left] * (1 - right) + pixels[top, left + 1] * right
    lower = pixels[top + 1, left] * (1 - right) + pixels[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down, mask[np.rint(y).astype(int), np.rint(x).astype(int)]


def _mirrored(position: np.ndarray, size: int) -> np.ndarray:
    """Positions folded back into 0..size-1, as in a hall of mirrors."""
    span = size - 1
    folded = np.abs(position) % (2 * span)
    return np.asarray(np.minimum(folded, 2 * span - folded))


def _stain(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Stain amount and hue change in optical density, where dyes add up."""
    density = -np.log((image.astype(np.float32) + 1) / 256)
    mixing = np.diag(random.uniform(0.75, 1.3, size=3)) * random.uniform(0.85, 1.15) + random.normal(0, 0.04, (3, 3))
    mixed = density @ mixing.astype(np.float32) + np.float32(random.normal(0, 0.03))
    return np.asarray(np.clip(256 * np.exp(-mixed) - 1, 0, 255), np.float32)
