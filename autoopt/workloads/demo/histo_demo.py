"""The embedded demo data of the histo workload: synthetic patients and their tiles, the same on every machine."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core.process import Child, serve, thread_limits
from autoopt.errors import TrialError
from autoopt.workloads.demo.canvas import Draw
from autoopt.workloads.demo.folders import write_demo
from autoopt.workloads.demo.histo_tissue import Patient, draw_tile

GENERATOR = "histo-demo"
VERSION = 2
GRADES = ("regular", "crowded", "irregular")
TILES_PER_PATIENT = (8, 9, 10, 11, 12)
SCORED_SHARE = 0.5
"""Patients of val and test have this share of the tiles: every trial predicts all of val, and patients weigh alike."""
MODULE = "autoopt.workloads.demo.histo_demo"
HELPERS = 2
PATIENT_SPLITS = (("train", 14), ("val", 5), ("test", 5))


def patients() -> list[Patient]:
    """All patients, in the order of their names."""
    splits = [split for split, count in PATIENT_SPLITS for _ in range(count)]
    return [_patient(index, split) for index, split in enumerate(splits)]


def write(folder: Path) -> None:
    """Fill `folder` with images/, masks/, manifest.csv and demo.json; return at once when it is already there.

    The folder appears in one step, complete. Raises StorageError where it cannot be written.
    """
    write_demo(folder, GENERATOR, VERSION, _fill)


def _fill(folder: Path) -> str:
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    everyone = patients()
    with ExitStack() as held:  # two processes: a user's first command waits for the tiles
        # The matrix products are small: more threads would only wait for each other.
        helpers = [held.enter_context(Child(MODULE, environment=thread_limits(1))) for _ in range(HELPERS)]
        shares = [everyone[index::HELPERS] for index in range(HELPERS)]
        for helper, share in zip(helpers, shares, strict=True):
            helper.send("draw", {"folder": str(folder), "patients": [item.index for item in share]}, stage="demo")
        for helper, share in zip(helpers, shares, strict=True):
            try:
                helper.receive(stage="demo")
            except TrialError:  # a host that allows no further process
                _draw(folder, share)
    digest = hashlib.sha256()
    lines = ["name,case,split,grade"]
    for patient in everyone:
        for name in _tile_names(patient):
            digest.update(name.encode() + _pixels(folder, "images", name) + _pixels(folder, "masks", name))
            lines.append(f"{name},{patient.name},{patient.split},{GRADES[patient.grade]}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return digest.hexdigest()


def _tile_names(patient: Patient) -> list[str]:
    return [f"{patient.name}-{index:02d}" for index in range(patient.tiles)]


def _draw(folder: Path, chosen: Sequence[Patient]) -> None:
    from PIL import Image

    for patient in chosen:
        for index, name in enumerate(_tile_names(patient)):
            image, mask = draw_tile(patient, index)
            Image.fromarray(image).save(folder / "images" / f"{name}.png", compress_level=1)
            Image.fromarray(mask).save(folder / "masks" / f"{name}.png", compress_level=1)


def _draw_some(request: dict[str, Any]) -> dict[str, Any]:
    everyone = patients()
    _draw(Path(request["folder"]), [everyone[index] for index in request["patients"]])
    return {}


def _pixels(folder: Path, part: str, name: str) -> bytes:
    from PIL import Image

    with Image.open(folder / part / f"{name}.png") as image:
        return np.asarray(image).tobytes()


def _patient(index: int, split: str) -> Patient:
    draw = Draw(1, index)
    tiles = TILES_PER_PATIENT[(index * 2) % len(TILES_PER_PATIENT)]
    grade = index % len(GRADES)
    hematoxylin = np.array([0.66, 0.68, 0.30]) + draw.between(-0.07, 0.07, 3)
    eosin = np.array([0.10, 0.94, 0.28]) + draw.between(-0.08, 0.08, 3)
    return Patient(
        index=index,
        split=split,
        tiles=tiles if split == "train" else math.ceil(SCORED_SHARE * tiles),
        grade=grade,
        stain=np.stack([hematoxylin * draw.one(1.1, 1.9), eosin * draw.one(0.5, 1.0)]),
        light=draw.between(0.90, 1.0, 3),
        radius=draw.one(30.0, 48.0) + 4.0 * grade,
        wall=draw.one(13.0, 20.0),
        gap=draw.one(1.5, 6.0) - grade,
        warp=draw.one(1.5, 3.0) + 2.5 * grade,
        goblet=draw.one(0.2, 0.9) if grade == 0 else draw.one(0.0, 0.15),
        nucleus=draw.one(0.9, 1.15),
        cells=draw.one(0.06, 0.22),
        mimics=draw.one(0.22, 0.40),
    )


if __name__ == "__main__":
    serve({"draw": _draw_some})
