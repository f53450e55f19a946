"""Small MONAI bundles and the images they are for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoopt.workloads.contract import Workload
from autoopt.workloads.loading import load_workload
from autoopt.workloads.models.bundle_config import build_network, read_config
from autoopt.workloads.models.bundle_settings import read_settings
from autoopt.workloads.models.bundle_step import Settings

NETWORK = {
    "_target_": "monai.networks.nets.BasicUNet",
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 2,
    "features": [4, 4, 4, 4, 4, 4],
}

RANGE = {"_target_": "ScaleIntensityRanged", "a_min": -50.0, "a_max": 150.0, "b_min": -1.0, "b_max": 1.0}
"""A transform that scales intensities."""
TASK = {"task": "segmentation"}


def write(folder: Path, name: str = "inference.json", **content: Any) -> Path:
    """A bundle with this configuration."""
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "configs" / name).write_text(json.dumps({"network_def": NETWORK, **content}))
    return folder


def steps(*items: dict[str, Any]) -> dict[str, Any]:
    """A Compose of transforms of the image."""
    return {"_target_": "Compose", "transforms": [{"keys": "image", **item} for item in items]}


def settings_of(
    folder: Path, content: dict[str, Any], *, channels: int = 1, dimensions: int = 2, classes: int = 2, **use: Any
) -> Settings:
    """What the configuration means for images of this kind."""
    config = read_config(write(folder, **content))
    return read_settings(config, channels=channels, classes=classes, dimensions=dimensions, **use)


def fields_of(folder: Path, channels: Any = 1, dimensions: Any = 2, drop: Any = (), **content: Any) -> Any:
    """The fields of a pipeline of two labels that the configuration means."""
    return settings_of(folder, content, channels=channels, dimensions=dimensions, dropped=drop).fields


def squares(folder: Path) -> Path:
    """Eight grey images with bright squares, as npz files."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for index in range(8):
        label = np.zeros((32, 32), np.uint8)
        label[4 : 20 + index % 3, 6:22] = 1
        image = (label + random.normal(0, 0.1, label.shape)).astype(np.float32)
        np.savez(folder / f"c{index}.npz", image=image[..., np.newaxis], label=label)
    return folder


def load(folder: Path, data: Path, **options: Any) -> Workload:
    return load_workload(f"model:{folder}", data, data, {"task": "segmentation", **options})


CONFIG: dict[str, Any] = {
    "channels": 1,
    "network_def": {
        "_target_": "UNet",
        "spatial_dims": 2,
        "in_channels": "@channels",
        "out_channels": 2,
        "channels": [4, 8],
        "strides": [2],
        "norm": "batch",
    },
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {
                "_target_": "ScaleIntensityRanged",
                "keys": "image",
                "a_min": -1.0,
                "a_max": 3.0,
                "b_min": 0.0,
                "b_max": 1.0,
                "clip": True,
            },
            {"_target_": "EnsureTyped", "keys": "image"},
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16], "overlap": 0.5},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {"_target_": "KeepLargestConnectedComponentd", "keys": "pred"},
        ],
    },
}
METADATA = {"network_data_format": {"outputs": {"pred": {"channel_def": {"0": "background", "1": "square"}}}}}


def bundle(folder: Path, **changes: Any) -> Path:
    """A small MONAI bundle with random weights."""
    config = {**CONFIG, **changes}
    for name, value in (("inference", config), ("metadata", METADATA)):
        (folder / "configs").mkdir(parents=True, exist_ok=True)
        (folder / "configs" / f"{name}.json").write_text(json.dumps(value))
    (folder / "models").mkdir()
    if not changes:
        torch.save(build_network(str(folder), False).state_dict(), folder / "models" / "model.pt")
    else:
        torch.save({}, folder / "models" / "model.pt")
    return folder
