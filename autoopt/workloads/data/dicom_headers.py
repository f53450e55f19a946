"""DICOM files by what their headers say: which files are DICOM, which series a folder holds, which one is meant.

A file is DICOM by its preamble: "DICM" at byte 128. Values of pixels are not read here.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from autoopt.core.packages import require
from autoopt.core.plain_text import short
from autoopt.errors import BadData
from autoopt.workloads.data.image_file import reading

PREAMBLE_BYTES, MAGIC = 128, b"DICM"
MOST_LOOKED_AT = 32
"""Files of a folder that are looked at to learn whether it holds DICOM; folders below it, too."""
ENDINGS = ("", ".dcm", ".dicom", ".ima")
"""A file with one of these, or with a number as its ending, must be DICOM where others of its folder are."""
DIRECTORY, DEFLATED = "1.2.840.10008.1.3.10", "1.2.840.10008.1.2.1.99"
SEGMENTATION = "SEG"
NO_IMAGES = ("SR", "PR", "KO", "DOC", "REG", "FID", "PLAN", "RTSTRUCT", "RTPLAN", "RTRECORD", "AU", "ECG", "HD", "TG")
"""Modalities of objects that lie beside images and are none."""
LOCALIZER = "LOCALIZER"
MOST_NAMED = 8
TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality"),
    *("PatientID", "IssuerOfPatientID", "FrameOfReferenceUID", "ImageType", "Rows", "Columns", "SamplesPerPixel"),
    *("PhotometricInterpretation", "BitsAllocated", "NumberOfFrames", "ImagePositionPatient", "PixelSpacing"),
    *("ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept"),
    *("ModalityLUTSequence", "PixelRepresentation", "BitsStored"),
)


@dataclass(frozen=True)
class Slice:
    """What one file says of its image; numbers that it does not say are None."""

    path: Path
    syntax: str
    sop_class: str
    sop_uid: str
    series_uid: str
    series_number: str
    description: str
    modality: str
    patient: str
    frame_of_reference: str
    localizer: bool
    size: tuple[int, int] | None
    samples: int
    photometric: str
    bits: int
    frames: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness: float | None
    slope: float | None
    intercept: float | None
    has_table: bool

    @property
    def told(self) -> str:
        """Its series in messages: number, description, modality."""
        return f"{self.series_number or 'no number'} {self.description!r} ({self.modality})"


@contextmanager
def reading_dicom(path: Path, wanted: str) -> Iterator[None]:
    """As `image_file.reading`, and without the warnings of pydicom, one for each odd tag: what we use is checked."""
    with reading(path, wanted), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does; a few bytes are read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return stream.read(PREAMBLE_BYTES + len(MAGIC))[PREAMBLE_BYTES:] == MAGIC
    except OSError:
        return False


def holds_dicom(folder: Path, *, below: bool = True) -> bool:
    """Whether a folder holds DICOM files, directly or, with `below`, in folders in it.

    A few files are looked at, of those whose names may be DICOM's (`ENDINGS`, or a number as the ending).
    """
    for number, (place, folders, names) in enumerate(os.walk(folder)):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if below else []
        paths = [Path(place) / name for name in sorted(names) if not name.startswith(".")]
        likely = [path for path in paths if _must_be(path)]  # pictures and tables by the thousand cost nothing
        if any(is_dicom(path) for path in likely[:MOST_LOOKED_AT]):
            return True
        if number >= MOST_LOOKED_AT:
            return False
    return False


def read_slices(folder: Path) -> tuple[Slice, ...]:
    """The headers of all DICOM files in a folder and below it. Raises BadData naming a file that cannot be read.

    Hidden files, the index DICOMDIR and files with endings of other formats are left out.
    """
    require("pydicom")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return _slices(tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files))


def read_slice(path: Path) -> Slice:
    """The header of a DICOM file. Raises BadData naming it."""
    require("pydicom")
    found = _slices(((path, path.stat().st_mtime_ns, path.stat().st_size),)) if path.is_file() else ()
    if not found:
        raise BadData(
            f"{path} must be a DICOM image, it is {'an index or another file' if path.exists() else 'absent'}"
        )
    return found[0]


def choose(folder: Path, slices: Iterable[Slice], series: str | None) -> list[Slice]:
    """The images of the one series that is meant: the only one, or that of this number, description or UID.

    Raises BadData naming all series where several are there and none, or not just one, is chosen, and for images of
    several patients.
    """
    by_uid: dict[str, list[Slice]] = {}
    for item in slices:
        if item.modality not in (*NO_IMAGES, SEGMENTATION):
            by_uid.setdefault(item.series_uid, []).append(item)
    if len(patients := {item.patient for found in by_uid.values() for item in found}) > 1:
        raise BadData(f"{folder} must be of one patient, it holds images of {len(patients)}: give each a folder")
    if not by_uid:
        raise BadData(f"{folder} must hold a series of images, its DICOM files have none")
    meant = [found for found in by_uid.values() if series is None or _is_called(found[0], series)]
    if len(meant) == 1:
        return meant[0]
    some = "; ".join(f"{found[0].told}, {len(found)} images" for found in list(by_uid.values())[:MOST_NAMED])
    more = f"; and {len(by_uid) - MOST_NAMED} more" if len(by_uid) > MOST_NAMED else ""
    how = "choose one with the option series, by its number, description or UID"
    asked = "" if series is None else f", {short(series)} is {'none' if not meant else 'more than one'} of them"
    raise BadData(f"{folder} must be one series, it holds {len(by_uid)}: {some}{more}{asked}; {how}")


def patient_name(slices: Iterable[Slice]) -> str | None:
    """What stands for the one patient of images: a digest of the PatientID, so that the ID gets in no record; or None.

    Images of several patients have none; `choose` refuses them.
    """
    patients = {item.patient for item in slices}
    patient = patients.pop() if len(patients) == 1 else ""
    return f"patient-{hashlib.sha256(patient.encode()).hexdigest()[:12]}" if patient else None


def _is_called(item: Slice, series: str) -> bool:
    names = (item.series_uid, item.series_number, item.description)
    return series.strip().casefold() in {name.casefold() for name in names if name}


@lru_cache(maxsize=256)
def _slices(files: tuple[tuple[Path, int, int], ...]) -> tuple[Slice, ...]:
    """Kept, since every case is opened several times; a file that was changed since is another one."""
    return tuple(_read_all(path for path, _, _ in files))


def _read_all(paths: Iterable[Path]) -> Iterator[Slice]:
    for path in paths:
        if is_dicom(path):
            found = _read(path)
            if found is not None:
                yield found
        elif _must_be(path):
            raise BadData(f"{path} must be a DICOM file as those beside it, it is not: remove or restore it")


def _must_be(path: Path) -> bool:
    suffix = path.suffix.lower()
    return (suffix in ENDINGS and path.name.upper() != "DICOMDIR") or suffix[1:].isdigit()


def _read(path: Path) -> Slice | None:
    """The header of a file, None for an index of files."""
    import pydicom

    with reading_dicom(path, "a whole DICOM file"):
        meta = pydicom.filereader.read_file_meta_info(path)
        syntax = str(meta.get("TransferSyntaxUID", ""))
        if meta.get("MediaStorageSOPClassUID") == DIRECTORY:
            return None
        if syntax == DEFLATED:  # the whole file would be unpacked to read its header
            raise ValueError("its transfer syntax is deflated, which is not read: save it as Explicit VR Little Endian")
        found = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
        return _slice(path, syntax, found)


def _slice(path: Path, syntax: str, found: Any) -> Slice:
    if not _text(found, "SeriesInstanceUID") or not _text(found, "Modality"):
        raise ValueError("it does not say its series and modality, as a file that is cut short")
    rows, columns = found.get("Rows"), found.get("Columns")
    values: Mapping[str, Any] = {name: _floats(found, name) for name in TAGS if name in FLOATS}
    patient, issuer = _text(found, "PatientID"), _text(found, "IssuerOfPatientID")
    return Slice(
        path=path,
        syntax=syntax,
        sop_class=_text(found, "SOPClassUID"),
        sop_uid=_text(found, "SOPInstanceUID"),
        series_uid=_text(found, "SeriesInstanceUID"),
        series_number=_text(found, "SeriesNumber"),
        description=_text(found, "SeriesDescription"),
        modality=_text(found, "Modality"),
        patient=f"{patient}/{issuer}" if patient and issuer else patient,
        frame_of_reference=_text(found, "FrameOfReferenceUID"),
        localizer=LOCALIZER in map(str, found.get("ImageType") or ()),
        size=(int(rows), int(columns)) if rows and columns else None,
        samples=int(found.get("SamplesPerPixel") or 1),
        photometric=_text(found, "PhotometricInterpretation"),
        bits=int(found.get("BitsAllocated") or 0),
        frames=int(found.get("NumberOfFrames") or 1),
        position=values["ImagePositionPatient"],
        orientation=values["ImageOrientationPatient"],
        spacing=values["PixelSpacing"],
        thickness=_first(values["SpacingBetweenSlices"]) or _first(values["SliceThickness"]),
        slope=_first(values["RescaleSlope"]),
        intercept=_first(values["RescaleIntercept"]),
        has_table="ModalityLUTSequence" in found,
    )


FLOATS = (
    *("ImagePositionPatient", "PixelSpacing", "ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices"),
    *("RescaleSlope", "RescaleIntercept"),
)
"""Tags of numbers."""


def _text(found: Any, name: str) -> str:
    value = found.get(name)
    return "" if value is None else str(value).strip()


def _floats(found: Any, name: str) -> tuple[float, ...] | None:
    value = found.get(name)
    if value is None or value == "":
        return None
    several = isinstance(value, Sequence) or (hasattr(value, "__iter__") and not isinstance(value, str))
    return tuple(float(item) for item in (value if several else [value]))


def _first(values: tuple[float, ...] | None) -> float | None:
    return values[0] if values else None
