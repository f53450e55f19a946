"""The embedded demo data of the brain workload: synthetic patients, two scans each, the same on every machine."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.workloads.demo.brain_phantom import Scan, draw_head, scan_head
from autoopt.workloads.demo.canvas import Draw
from autoopt.workloads.demo.folders import write_demo

GENERATOR = "brain-demo"
VERSION = 1
PATIENT_SPLITS = (("train", 10), ("val", 3), ("test", 3))
MODALITIES = ("T1w", "T2w", "FLAIR")
SPACINGS_MM = {"T1w": (2.4, 2.4, 3.6), "T2w": (2.2, 2.2, 4.0), "FLAIR": (2.5, 2.5, 4.0)}
SHAPES = {"T1w": (86, 98, 42), "T2w": (94, 108, 38), "FLAIR": (84, 96, 38)}
ORIENTATIONS = {"LPS": (-1, -1, 1), "LAS": (-1, 1, 1), "RAS": (1, 1, 1)}
"""How the axes are stored, and the direction of each in RAS+."""
CUT_SLICES = 5
"""In some volumes the mask is empty below this slice, as where two scans of a patient do not overlap."""


@dataclass(frozen=True)
class Volume:
    """One scan of one patient as it is stored, and the first slice that its mask covers."""

    name: str
    patient: str
    split: str
    modality: str
    image: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    first_full_slice: int


def volumes() -> Iterator[Volume]:
    """All volumes, patient by patient."""
    splits = [split for split, count in PATIENT_SPLITS for _ in range(count)]
    for index, split in enumerate(splits):
        head = draw_head(index)
        for session in range(2):
            # Each contrast is missing in a third of the patients; every split has all of them.
            modality = MODALITIES[(index + session) % len(MODALITIES)]
            draw = Draw(25, index, session)
            spacing = tuple(size * draw.one(0.97, 1.03) for size in SPACINGS_MM[modality])
            scan = Scan(2 * index + session, modality, (spacing[0], spacing[1], spacing[2]), SHAPES[modality])
            yield _stored(f"d{index:02d}", split, scan, *scan_head(head, scan))


def write(folder: Path) -> None:
    """Fill `folder` with images/, masks/, manifest.csv and demo.json; return at once when it is already there.

    The folder appears in one step, complete. Raises StorageError where it cannot be written.
    """
    write_demo(folder, GENERATOR, VERSION, _fill)


def _fill(folder: Path) -> str:
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    digest = hashlib.sha256()
    lines = ["name,patient,modality,split,first_full_slice,last_full_slice"]
    for volume in volumes():
        line = (
            f"{volume.name},{volume.patient},{volume.modality},{volume.split},{volume.first_full_slice},"
            f"{volume.image.shape[-1] - 1}"
        )
        lines.append(line)
        digest.update(line.encode() + volume.image.astype("<u2").tobytes() + volume.mask.tobytes())
        _save(folder / "images" / f"{volume.name}.nii.gz", volume.image, volume.affine)
        _save(folder / "masks" / f"{volume.name}_brainmask.nii.gz", volume.mask, volume.affine)
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return digest.hexdigest()


def _stored(patient: str, split: str, scan: Scan, image: np.ndarray, mask: np.ndarray) -> Volume:
    """The volume with its axes in one of the usual orders, and its affine."""
    signs = ORIENTATIONS[tuple(ORIENTATIONS)[scan.seed % len(ORIENTATIONS)]]
    turned = tuple(slice(None, None, sign) for sign in signs)
    image, mask = np.ascontiguousarray(image[turned]), np.ascontiguousarray(mask[turned])
    affine = np.diag([*(sign * size for sign, size in zip(signs, scan.spacing_mm, strict=True)), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(scan.shape) - 1) / 2)  # the middle voxel is the origin
    first = CUT_SLICES if scan.seed % 4 == 1 else 0
    mask[..., :first] = 0
    return Volume(f"{patient}_{scan.contrast}", patient, split, scan.contrast, image, mask, affine, first)


def _save(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    import nibabel

    make: Any = nibabel.Nifti1Image  # nibabel's own annotations are partial
    image = make(values, affine)
    image.header.set_xyzt_units("mm")
    with path.open("wb") as stream, gzip.GzipFile("", "wb", compresslevel=1, fileobj=stream, mtime=0) as packed:
        packed.write(image.to_bytes())
