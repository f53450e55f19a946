"""Make itk-volumes.npz: small files of six orientations, and their voxels and affines as SimpleITK reads them.

Run with SimpleITK and pydicom, which the tests do not need together: `python -m tests.golden.make_itk_volumes`.
"""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import SimpleITK  # type: ignore[import-not-found]

from tests.workloads.data.dicom_files import series

OUT = Path(__file__).parent / "itk-volumes.npz"
SPACING, ORIGIN = (0.7, 0.8, 2.5), (10.5, -20.0, 33.0)
ENDINGS = {"nrrd": True, "nhdr": False, "mha": True, "mhd": True}
"""The formats, and whether they are packed."""
TYPES = (np.int16, np.uint8, np.float32, np.uint16, np.int32, np.float64)


def turned(x: float, y: float, z: float) -> np.ndarray:
    """The rotation by three angles."""
    parts = []
    for angle, (one, other) in ((x, (1, 2)), (y, (2, 0)), (z, (0, 1))):
        part = np.eye(3)
        part[one, one] = part[other, other] = math.cos(angle)
        part[other, one], part[one, other] = math.sin(angle), -math.sin(angle)
        parts.append(part)
    return np.asarray(parts[0] @ parts[1] @ parts[2])


DIRECTIONS = {
    "axial": np.eye(3),
    "flipped": np.diag([-1.0, -1.0, 1.0]),
    "left": np.diag([-1.0, 1.0, -1.0]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "sagittal": np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
    "oblique": turned(0.3, -0.4, 0.5),
}


def told(image: Any) -> dict[str, np.ndarray]:
    """The voxels (x, y, z) and the affine to RAS+ mm of an image of SimpleITK."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    values = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    return {"values": values, "affine": np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine}


def main() -> None:
    """Write the file."""
    rng, kept = np.random.default_rng(0), dict[str, np.ndarray]()
    for number, (name, directions) in enumerate(DIRECTIONS.items()):
        image = SimpleITK.GetImageFromArray(rng.normal(0, 60, (3, 4, 5)).astype(TYPES[number]))
        image.SetSpacing(SPACING)
        image.SetOrigin(ORIGIN)
        image.SetDirection(directions.ravel().tolist())
        with TemporaryDirectory() as folder:
            for ending, packed in ENDINGS.items():
                SimpleITK.WriteImage(image, f"{folder}/{name}.{ending}", packed)
            stored = rng.normal(0, 100, (6, 5, 4)).astype(np.int16)
            slices = series(Path(folder) / f"{name}-dicom", stored, orientation=[*directions[:, 0], *directions[:, 1]])
            reader = SimpleITK.ImageSeriesReader()
            reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(slices[0].parent)))
            read = {name: image, f"{name}-dicom": reader.Execute()}
            kept |= {f"{key}/{part}": value for key, of in read.items() for part, value in told(of).items()}
            for path in sorted(Path(folder).rglob("*")):
                if path.is_file():
                    kept[f"files/{path.relative_to(folder).as_posix()}"] = np.frombuffer(path.read_bytes(), np.uint8)
    np.savez_compressed(OUT, **kept)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
