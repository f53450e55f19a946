"""The embedded demo data of the histo workload: synthetic patients and their tiles, the same on every machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from autoopt.errors import StorageError
from autoopt.workloads.histo_canvas import Draw
from autoopt.workloads.histo_tissue import Patient, draw_tile

GENERATOR = "histo-demo"
VERSION = 1
GRADES = ("regular", "crowded", "irregular")
TILES_PER_PATIENT = (8, 9, 10, 11, 12)
PATIENT_SPLITS = (("train", 14), ("val", 5), ("test", 5))


def patients() -> list[Patient]:
    """All patients, in the order of their names."""
    splits = [split for split, count in PATIENT_SPLITS for _ in range(count)]
    return [_patient(index, split) for index, split in enumerate(splits)]


def tiles() -> Iterator[tuple[str, Patient, np.ndarray, np.ndarray]]:
    """Name, patient, image and mask of every tile, sorted by name."""
    for patient in patients():
        for index in range(patient.tiles):
            yield (f"{patient.name}-{index:02d}", patient, *draw_tile(patient, index))


def write(folder: Path) -> None:
    """Fill `folder` with images/, masks/, manifest.csv and demo.json; return at once when it is already there.

    The folder appears in one step, complete. Raises StorageError where it cannot be written.
    """
    if _complete(folder):
        return
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        _fill(temporary)
        if folder.exists() and not _complete(folder):
            os.rename(folder, temporary / "replaced")  # an older version, or a folder that never was finished
        try:
            os.rename(temporary, folder)
        except OSError:
            if not _complete(folder):  # another process may have been first: its folder is as good
                raise
        shutil.rmtree(folder / "replaced", ignore_errors=True)
    except OSError as error:
        raise StorageError(
            f"the demo data needs a writable folder with 40 MB free: {folder} gave {error.strerror or error}"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _complete(folder: Path) -> bool:
    try:
        card = json.loads((folder / "demo.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and (card.get("generator"), card.get("version")) == (GENERATOR, VERSION)


def _fill(folder: Path) -> None:
    from PIL import Image

    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    digest = hashlib.sha256()
    lines = ["name,case,split,grade"]
    for name, patient, image, mask in tiles():
        digest.update(name.encode() + image.tobytes() + mask.tobytes())
        Image.fromarray(image).save(folder / "images" / f"{name}.png", compress_level=1)
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png", compress_level=1)
        lines.append(f"{name},{patient.name},{patient.split},{GRADES[patient.grade]}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    card = {"generator": GENERATOR, "version": VERSION, "demo": True, "digest": digest.hexdigest()}
    (folder / "demo.json").write_text(json.dumps(card, indent=1) + "\n")
    os.chmod(folder, 0o755)


def _patient(index: int, split: str) -> Patient:
    draw = Draw(1, index)
    grade = index % len(GRADES)
    hematoxylin = np.array([0.66, 0.68, 0.30]) + draw.between(-0.07, 0.07, 3)
    eosin = np.array([0.10, 0.94, 0.28]) + draw.between(-0.08, 0.08, 3)
    return Patient(
        index=index,
        split=split,
        tiles=TILES_PER_PATIENT[(index * 2) % len(TILES_PER_PATIENT)],
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
