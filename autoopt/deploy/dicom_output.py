"""A mask as a DICOM segmentation object (BINARY) of the series that it was predicted for.

The object is in the study and frame of reference of its series, refers to every slice, and has a frame where a segment
is. The standard is DICOM PS3.3 A.51, C.8.20.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from autoopt import __version__
from autoopt.errors import BadData
from autoopt.workloads.data.dicom_headers import reading_dicom
from autoopt.workloads.data.dicom_series import Series

COPIED = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyID"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyDescription"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator"),
)
"""Tags that the object has in common with its series; those that must be there, may be empty."""
CATEGORY = ("91723000", "SCT", "Anatomical Structure")
TYPE = ("85756007", "SCT", "Tissue")
FAMILY = ("123110", "DCM", "Artificial Intelligence")
MOST_LONG_STRING = 64
"""Characters of a DICOM text of the kind LO."""
SERIES_NUMBER = 9000
"""Behind all series of a scanner."""


def segmentation_bytes(
    parts: Sequence[tuple[str, np.ndarray]], series: Series, title: str, bundle: str, now: datetime | None = None
) -> bytes:
    """A DICOM file with one segment for each of `parts`: its label and where it is, (x, y, z) of 0 and 1.

    `title` names the model, `bundle` is its digest. Raises BadData for a series without a frame of reference.
    """
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage, generate_uid

    if not series.slices[0].frame_of_reference:
        raise BadData(
            f"{series.slices[0].path} must have a FrameOfReferenceUID, which a DICOM segmentation refers to: write "
            "NIfTI with --format nifti"
        )
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SegmentationStorage, generate_uid(prefix=None)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    made.SpecificCharacterSet = "ISO_IR 192"
    with reading_dicom(series.slices[0].path, "a DICOM file whose patient and study can be read"):
        image = pydicom.dcmread(series.slices[0].path, stop_before_pixels=True)
        for name in COPIED:
            setattr(made, name, image.get(name) or "")
    when = now or datetime.now(UTC).astimezone()
    _say_what_it_is(made, title, when)
    frames = list(_frames([part for _, part in parts]))
    groups = [_group(series, segment, place) for segment, place, _ in frames]
    made.SegmentSequence = [_segment(number, label, title, bundle) for number, (label, _) in enumerate(parts, 1)]
    _say_where_it_is(made, image, series, groups)
    bits = np.packbits(np.array([frame for *_, frame in frames], np.uint8).ravel(), bitorder="little").tobytes()
    made.PixelData = bits + bytes(len(bits) % 2)
    stream = io.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _frames(parts: Sequence[np.ndarray]) -> Iterator[tuple[int, int, np.ndarray]]:
    """Segment, slice and pixels (rows, columns) of each frame; an empty mask has one, since an object needs one."""
    empty = not any(part.any() for part in parts)
    for segment, part in enumerate(parts, 1):
        for place in range(part.shape[2]):
            if part[..., place].any() or (empty and (segment, place) == (1, 0)):
                yield segment, place, part[..., place].T != 0


def _say_what_it_is(made: Any, title: str, when: datetime) -> None:
    from pydicom.uid import generate_uid

    made.SOPClassUID, made.SOPInstanceUID = made.file_meta.MediaStorageSOPClassUID, made.file_meta[0x00020003].value
    made.Modality, made.SeriesInstanceUID, made.SeriesNumber = "SEG", generate_uid(prefix=None), SERIES_NUMBER
    made.SeriesDescription = made.ContentDescription = f"autoopt: {title}"[:MOST_LONG_STRING]
    made.InstanceNumber, made.ContentLabel, made.ContentCreatorName = 1, "AUTOOPT", ""
    made.SeriesDate = made.ContentDate = made.InstanceCreationDate = when.strftime("%Y%m%d")
    made.SeriesTime = made.ContentTime = made.InstanceCreationTime = when.strftime("%H%M%S")
    made.Manufacturer = made.ManufacturerModelName = "autoopt"
    made.SoftwareVersions, made.DeviceSerialNumber = __version__, "0"
    made.ImageType, made.SegmentationType, made.LossyImageCompression = ["DERIVED", "PRIMARY"], "BINARY", "00"
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated = made.BitsStored = 1
    made.HighBit = 0


def _say_where_it_is(made: Any, image: Any, series: Series, groups: Sequence[Any]) -> None:
    from pydicom.uid import generate_uid

    made.Rows, made.Columns, made.NumberOfFrames = image.Rows, image.Columns, len(groups)
    step = float(np.linalg.norm(series.affine[:3, 2]))
    measures = _items(PixelSpacing=image.PixelSpacing, SliceThickness=f"{step:.9g}", SpacingBetweenSlices=f"{step:.9g}")
    plane = _items(ImageOrientationPatient=image.ImageOrientationPatient)
    made.SharedFunctionalGroupsSequence = _items(PlaneOrientationSequence=plane, PixelMeasuresSequence=measures)
    made.PerFrameFunctionalGroupsSequence = list(groups)
    organization = generate_uid(prefix=None)
    made.DimensionOrganizationSequence = _items(DimensionOrganizationUID=organization)
    made.DimensionIndexSequence = [
        _items(DimensionOrganizationUID=organization, DimensionIndexPointer=what, FunctionalGroupPointer=group)[0]
        for what, group in ((0x0062000B, 0x0062000A), (0x00200032, 0x00209113))  # segment, place
    ]
    instances = [item for one in series.slices for item in _reference(one.sop_class, one.sop_uid)]
    made.ReferencedSeriesSequence = _items(
        SeriesInstanceUID=series.slices[0].series_uid, ReferencedInstanceSequence=instances
    )


def _group(series: Series, segment: int, place: int) -> Any:
    """What is said of one frame: its segment, its slice and where that lies."""
    item = series.slices[place]
    source = _reference(item.sop_class, item.sop_uid)
    source[0].PurposeOfReferenceCodeSequence = _code("121322", "DCM", "Source image for image processing operation")
    derived = _code("113076", "DCM", "Segmentation")
    return _items(
        FrameContentSequence=_items(DimensionIndexValues=[segment, place + 1]),
        PlanePositionSequence=_items(ImagePositionPatient=[_decimal(part) for part in item.position or ()]),
        SegmentIdentificationSequence=_items(ReferencedSegmentNumber=segment),
        DerivationImageSequence=_items(SourceImageSequence=source, DerivationCodeSequence=derived),
    )[0]


def _segment(number: int, label: str, title: str, bundle: str) -> Any:
    name = title[:MOST_LONG_STRING]
    algorithm = _items(AlgorithmFamilyCodeSequence=_code(*FAMILY), AlgorithmName=name, AlgorithmVersion=bundle[:64])
    return _items(
        SegmentNumber=number,
        SegmentLabel=label[:MOST_LONG_STRING],
        SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName=name,
        SegmentationAlgorithmIdentificationSequence=algorithm,
        SegmentedPropertyCategoryCodeSequence=_code(*CATEGORY),
        SegmentedPropertyTypeCodeSequence=_code(*TYPE),
    )[0]


def _reference(sop_class: str, sop_uid: str) -> list[Any]:
    return _items(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=sop_uid)


def _code(value: str, scheme: str, meaning: str) -> list[Any]:
    return _items(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _items(**tags: Any) -> list[Any]:
    """A sequence of one item with these tags."""
    from pydicom.dataset import Dataset

    made = Dataset()
    for name, value in tags.items():
        setattr(made, name, value)
    return [made]


def _decimal(value: float) -> str:
    """A number as DICOM's decimal string, of at most sixteen characters."""
    return next(text for digits in range(16, 0, -1) if len(text := f"{value:.{digits}g}") <= 16)
