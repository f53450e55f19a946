"""DICOM files for tests: a series of slices, each of its faults on demand, and segmentations of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, SegmentationStorage, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
STEP, SPACING, ORIGIN = 2.5, (0.8, 0.7), (-30.0, 40.0, -100.0)


def uid(*parts: object) -> str:
    """The same UID for the same words."""
    return str(generate_uid(entropy_srcs=[str(part) for part in parts]))


def stored(path: Path, sop_class: str, **tags: Any) -> FileDataset:
    """A file that is not written yet."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, uid(path)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    found.SOPClassUID, found.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    for name, value in tags.items():
        setattr(found, name, value)
    return found


def series(
    folder: Path,
    values: np.ndarray,
    *,
    name: str = "",
    patient: str = "P1",
    orientation: Sequence[float] = AXIAL,
    positions: Sequence[Sequence[float]] | None = None,
    **tags: Any,
) -> list[Path]:
    """A CT series of the stored `values` (x, y, z), its files named out of order; `tags` go into every file."""
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(orientation[:3], orientation[3:])
    paths = []
    for number in range(values.shape[2]):
        place = np.array(ORIGIN) + number * STEP * normal if positions is None else positions[number]
        path = folder / f"{name}{(number * 7 + 3) % 101:03d}.dcm"
        found = stored(path, CTImageStorage, Modality="CT", PatientID=patient, PatientName="A^B", SeriesNumber=2)
        found.StudyInstanceUID, found.SeriesInstanceUID = uid(folder, "study"), uid(folder, name, "series")
        found.FrameOfReferenceUID, found.InstanceNumber = uid(folder, "frame"), number + 1
        found.SeriesDescription, found.ImageType = f"soft {name}".strip(), ["ORIGINAL", "PRIMARY", "AXIAL"]
        found.ImagePositionPatient = [round(float(part), 8) for part in place]
        found.ImageOrientationPatient = [round(float(part), 10) for part in orientation]
        found.PixelSpacing, found.SliceThickness = list(SPACING), STEP
        found.Rows, found.Columns = values.shape[1], values.shape[0]
        found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
        found.BitsAllocated = found.BitsStored = 8 * values.dtype.itemsize
        found.HighBit, found.PixelRepresentation = found.BitsStored - 1, int(values.dtype.kind == "i")
        found.RescaleSlope, found.RescaleIntercept = 2, -1024
        for tag, value in tags.items():
            setattr(found, tag, value)
        found.PixelData = np.ascontiguousarray(values[..., number].T).tobytes()
        found.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def segmentation(path: Path, images: Sequence[Path], mask: np.ndarray, names: Sequence[str], kind: str) -> Path:
    """A DICOM-SEG of the label map (x, y, z) with the segments 1, 2, ...; frames are there where segments are."""
    first = pydicom.dcmread(images[0], stop_before_pixels=True)
    found = stored(path, SegmentationStorage, Modality="SEG", SegmentationType=kind, PatientID=first.PatientID)
    found.FrameOfReferenceUID, found.SeriesInstanceUID = first.FrameOfReferenceUID, uid(path, "series")
    found.SegmentSequence = [_dataset(SegmentNumber=number, SegmentLabel=name) for number, name in enumerate(names, 1)]
    plane = _dataset(ImageOrientationPatient=first.ImageOrientationPatient)
    measures = _dataset(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness)
    found.SharedFunctionalGroupsSequence = [
        _dataset(PlaneOrientationSequence=[plane], PixelMeasuresSequence=[measures])
    ]
    groups, frames = [], []
    for number, image in reversed(list(enumerate(images))):
        place = pydicom.dcmread(image, stop_before_pixels=True).ImagePositionPatient
        for label in range(1, len(names) + 1) if kind == "BINARY" else [0]:
            part = mask[..., number].T
            part = part == label if label else part
            if part.any():
                group = _dataset(PlanePositionSequence=[_dataset(ImagePositionPatient=place)])
                if label:
                    group.SegmentIdentificationSequence = [_dataset(ReferencedSegmentNumber=label)]
                groups.append(group)
                frames.append(part)
    found.PerFrameFunctionalGroupsSequence, found.NumberOfFrames = groups, len(frames)
    found.Rows, found.Columns, found.SamplesPerPixel = first.Rows, first.Columns, 1
    found.PhotometricInterpretation, found.PixelRepresentation = "MONOCHROME2", 0
    bits = 1 if kind == "BINARY" else 8
    found.BitsAllocated, found.BitsStored, found.HighBit = bits, bits, bits - 1
    flat = np.array(frames, np.uint8)
    data = np.packbits(flat.ravel(), bitorder="little").tobytes() if bits == 1 else flat.tobytes()
    found.PixelData = data + bytes(len(data) % 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save_as(path, enforce_file_format=True)
    return path


def _dataset(**tags: Any) -> Dataset:
    made = Dataset()
    for name, value in tags.items():
        setattr(made, name, value)
    return made
