"""The files that a parent and its workers exchange: numbered arrays and an index, nothing pickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

INDEX = "index.json"


def case_ids(folder: Path) -> list[str]:
    """The ids of the packed cases in `folder`, in the order of their arrays."""
    ids: list[str] = _index(folder)["ids"]
    return ids


def case_affine(folder: Path, index: int) -> np.ndarray | None:
    """The affine of case number `index`, (4, 4), or None where it has none."""
    affine = _index(folder)["affines"][index]
    return None if affine is None else np.asarray(affine, np.float64)


def case_image(folder: Path, index: int) -> np.ndarray:
    """The image of case number `index`, (*spatial, channels)."""
    image: np.ndarray = np.load(folder / array_name(index), allow_pickle=False)
    return image


def array_name(index: int) -> str:
    """The file name of array number `index`, of an image or of a prediction."""
    return f"{index:05d}.npy"


def _index(folder: Path) -> dict[str, Any]:
    index: dict[str, Any] = json.loads((folder / INDEX).read_text())
    return index
