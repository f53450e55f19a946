"""Data folders of every layout, small and random but the same each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image

from autoopt.workloads.contract import SPLITS, Case
from autoopt.workloads.data.dataset import Dataset

SIZE = (12, 10)
"""Height and width of the pictures."""


def random_of(index: int) -> np.random.Generator:
    return np.random.default_rng(index)


def picture(path: Path, index: int, mode: str = "RGB", size: tuple[int, int] = SIZE) -> Path:
    shape = (*size, 3) if mode == "RGB" else size
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random_of(index).integers(0, 256, shape).astype(np.uint8), mode=mode).save(path)
    return path


def mask(path: Path, index: int, high: int = 2, factor: int = 255, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = random_of(index).integers(0, high, size)
    values.flat[:high] = np.arange(high)
    Image.fromarray((values * factor).astype(np.uint8)).save(path)
    return path


def volume(path: Path, values: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 2.0)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([*spacing, 1.0])), path)
    return path


def pairs(folder: Path, count: int = 12) -> Path:
    for index in range(count):
        picture(folder / "images" / f"p{index:02d}.png", index)
        mask(folder / "masks" / f"p{index:02d}.png", index)
    return folder


def volumes(folder: Path, count: int = 6) -> Path:
    for index in range(count):
        label = random_of(index).integers(0, 3, (6, 5, 4)).astype(np.uint8)
        volume(folder / "images" / f"v{index}.nii.gz", label.astype(np.float32) * 10)
        volume(folder / "masks" / f"v{index}.nii.gz", label)
    return folder


def table(folder: Path, count: int = 12) -> Path:
    lines = ["SubjectID,Channel_0,Channel_1,Label,Split,site"]
    for index in range(count):
        for part in ("t1", "t2"):
            volume(folder / part / f"s{index}.nii.gz", random_of(index).normal(size=(5, 6, 4)).astype(np.float32))
        volume(folder / "seg" / f"s{index}.nii.gz", random_of(index).integers(0, 2, (5, 6, 4)).astype(np.uint8))
        split = "train" if index < 6 else "valid" if index < 9 else "test"
        lines.append(
            f"P{index // 2 if index < 6 else index},t1/s{index}.nii.gz,t2/s{index}.nii.gz,"
            f"seg/s{index}.nii.gz,{split},{index % 2}"
        )
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    return folder


def classes(folder: Path, count: int = 10) -> Path:
    for name in ("benign", "malignant"):
        for index in range(count):
            picture(folder / name / f"{name}{index}.jpg", index, size=(14, 11 + index % 2))
    return folder


def all_cases(dataset: Dataset) -> list[Case]:
    return [case for split in SPLITS for case in dataset.splits[split]]


def npy(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values, allow_pickle=True)


def arrays(folder: Path) -> Path:
    for index in range(6):
        npy(folder / "images" / f"{index}.npy", random_of(index).normal(size=(6, 8, 9)))
        npy(folder / "masks" / f"{index}.npy", random_of(index).integers(0, 2, (6, 8, 9)))
    return folder


def archive(folder: Path, **more: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    np.savez(folder / "all.npz", images=np.zeros((9, 6, 5)), labels=np.arange(9) % 2, **more)
    return folder


def pictures(folder: Path) -> Path:
    for index in range(12):
        picture(folder / f"{index}.png", index)
    lines = [f"P{index},{index}.png,{index % 2}" for index in range(12)]
    (folder / "cases.csv").write_text("\n".join(["SubjectID,Channel_0,Label", *lines]))
    return folder


NNUNET = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1, "b": 2}, "file_ending": ".nii.gz"}


def raw_nnunet(folder: Path, count: int = 6, test: int = 0, channels: int = 1, **facts: Any) -> Path:
    """The raw data of nnU-Net with so many cases, c0, c1, ..., and t0, t1, ... for the test."""
    folder.mkdir(parents=True)
    named = {str(index): "CT" for index in range(channels)}
    (folder / "dataset.json").write_text(json.dumps({**NNUNET, "channel_names": named, **facts}))
    for part, start, number in (("Tr", "c", count), ("Ts", "t", test)):
        for index in range(number):
            label = random_of(index).integers(0, 3, (6, 7, 5)).astype(np.uint8)
            for channel in range(channels):
                image = label.astype(np.float32) * 10 + channel
                volume(folder / f"images{part}" / f"{start}{index}_{channel:04d}.nii.gz", image)
            volume(folder / f"labels{part}" / f"{start}{index}.nii.gz", label)
    return folder


def nnunet_splits(path: Path, count: int = 6, folds: int = 3) -> Path:
    """The splits_final.json for the training cases of `raw_nnunet`: fold k leaves out every case of its number."""
    names = [f"c{index}" for index in range(count)]
    held = [names[fold::folds] for fold in range(folds)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"train": [n for n in names if n not in val], "val": val} for val in held]))
    return path
