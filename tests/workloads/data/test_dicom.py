"""DICOM folders as volumes and as label maps: what is read, what is refused and in which words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from autoopt.errors import BadData, DataError
from autoopt.workloads.data.dataset import read_dataset
from autoopt.workloads.data.dicom import open_dicom, patient_of, takes
from autoopt.workloads.data.dicom_headers import read_slice
from autoopt.workloads.data.dicom_seg import open_segmentation
from autoopt.workloads.data.dicom_series import read_series
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.readers import images_in, open_image
from autoopt.workloads.data.wishes import Wishes
from tests.workloads.data.dicom_files import ORIGIN, STEP, segmentation, series
from tests.workloads.data.folders import all_cases, volume

VALUES = np.random.default_rng(0).integers(-100, 1000, (6, 5, 4)).astype(np.int16)
TURNED = (1.0, 0.0, 0.0, 0.0, 0.8, 0.6)


def change(path: Path, **tags: Any) -> None:
    """Write other values of these tags into a file; None takes one out."""
    found = pydicom.dcmread(path)
    for name, value in tags.items():
        if value is None:
            delattr(found, name)
        else:
            setattr(found, name, value)
    found.save_as(path)


def test_a_folder_is_one_image(tmp_path: Path) -> None:
    """Files of any name are found by their preamble, also below; slope and intercept count; whole numbers stay so."""
    paths = series(tmp_path / "scan", VALUES)
    (tmp_path / "scan" / "deeper").mkdir()
    for number, path in enumerate(paths[:2]):
        path.rename(tmp_path / "scan" / "deeper" / f"IM{number}")
    for name in ("notes.txt", "DICOMDIR", ".hidden"):
        (tmp_path / "scan" / name).write_text("no image")
    opened = open_image(Source(tmp_path / "scan"))
    assert np.array_equal(opened.read(), VALUES.astype(np.int32) * 2 - 1024) and opened.read().dtype == np.int32
    series(tmp_path / "pet", VALUES, RescaleSlope=0.5, RescaleIntercept=0.25)
    assert np.array_equal(open_image(Source(tmp_path / "pet")).read(), VALUES * np.float32(0.5) + np.float32(0.25))
    assert takes(tmp_path) and not takes(tmp_path, below=False) and takes(tmp_path / "scan", below=False)
    assert images_in(tmp_path) == [tmp_path / "pet", tmp_path / "scan"]


def several(folder: Path) -> None:
    series(folder, VALUES, name="b", SeriesNumber=3)


FAULTS: dict[str, tuple[Callable[[Path, list[Path]], object], str]] = {
    "a gap": (lambda folder, paths: paths[1].unlink(), r"from 003.dcm to 017.dcm it is 5 mm, .*a slice is missing"),
    "two in one place": (
        lambda folder, paths: change(paths[1], ImagePositionPatient=list(ORIGIN)),
        "must have slices in equal steps: .* two images are in one place",
    ),
    "several series": (lambda folder, paths: several(folder), r"holds 2: 2 'soft' \(CT\), 4 images; 3 'soft b' \(CT\)"),
    "a localizer": (lambda folder, paths: change(paths[0], ImageType=["ORIGINAL", "LOCALIZER"]), "is a localizer"),
    "a tilted gantry": (
        lambda folder, paths: [
            change(path, ImagePositionPatient=[ORIGIN[0], ORIGIN[1] + number, ORIGIN[2] + STEP * number])
            for number, path in enumerate(paths)
        ],
        "shifted by up to 3 mm in their plane",
    ),
    "colours": (lambda folder, paths: change(paths[2], PhotometricInterpretation="RGB", SamplesPerPixel=3), "grey"),
    "no slope": (lambda folder, paths: change(paths[2], RescaleSlope=None), "017.dcm must have RescaleSlope and"),
    "no pixels": (lambda folder, paths: change(paths[3], PixelData=None), "024.dcm must (hold|be a whole DICOM)"),
    "fewer pixels": (lambda folder, paths: change(paths[3], Rows=5000, Columns=5000), r"must hold 50000000 bytes"),
    "no place": (lambda folder, paths: change(paths[3], ImagePositionPatient=None), "must say its place"),
    "two orientations": (lambda folder, paths: change(paths[3], ImageOrientationPatient=list(TURNED)), "orientation"),
    "two patients": (
        lambda folder, paths: change(paths[3], PatientID="P2"),
        "must be of one patient, it holds images of 2",
    ),
    "frames": (lambda folder, paths: change(paths[3], NumberOfFrames=2), "holds 2 frames"),
    "another file": (lambda folder, paths: paths[3].write_bytes(b""), "024.dcm must be a DICOM file"),
    "a cut file": (lambda folder, paths: paths[3].write_bytes(paths[3].read_bytes()[:300]), "024.dcm"),
    "no decoder": (lambda folder, paths: compressed(paths[0]), r"is compressed \(.*JPEG-LS.*\), .*pip install"),
}


def compressed(path: Path) -> None:
    """Say that a file is compressed as JPEG-LS, whose decoder is in no dependency."""
    found = pydicom.dcmread(path)
    found.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.80"
    found.PixelData = pydicom.encaps.encapsulate([bytes(100)])
    found["PixelData"].is_undefined_length = True
    found.save_as(path)


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_no_volume_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """A gap, several series, tilts, colours, missing values: one sentence that names the file or the folder."""
    spoil, words = FAULTS[name]
    paths = series(tmp_path / "scan", VALUES)
    spoil(tmp_path / "scan", paths)
    with pytest.raises(BadData, match=words) as caught:
        open_image(Source(tmp_path / "scan")).read()
    assert str(tmp_path / "scan") in str(caught.value) and "\n" not in str(caught.value)


def test_odd_tags_are_read_without_a_word(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """What a scanner writes against the standard, in tags that mean nothing here, is no matter for the user."""
    series(tmp_path / "scan", VALUES)
    for path in (tmp_path / "scan").iterdir():
        path.write_bytes(path.read_bytes().replace(b"1.2.826", b"1.2.x26"))
    recwarn.clear()
    assert open_image(Source(tmp_path / "scan")).read().shape == VALUES.shape
    assert not [str(warning.message) for warning in recwarn]


def test_packed_pixels_are_the_same(tmp_path: Path) -> None:
    """RLE, which needs no further package, gives the values of the plain file; a deflated file is not unpacked."""
    paths = series(tmp_path / "scan", VALUES)
    for path in paths:
        found = pydicom.dcmread(path)
        found.compress(RLELossless, generate_instance_uid=False)
        found.save_as(path)
    assert np.array_equal(open_image(Source(tmp_path / "scan")).read(), VALUES.astype(np.int32) * 2 - 1024)
    found.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    found.PixelData, found["PixelData"].is_undefined_length = bytes(60), False
    found.save_as(paths[0])
    with pytest.raises(BadData, match="deflated"):
        open_image(Source(tmp_path / "scan"))


def test_one_of_several_series_is_chosen(tmp_path: Path) -> None:
    """By number, description or UID; two of one description are not guessed between; reports beside are left out."""
    first = series(tmp_path / "scan", VALUES)
    other = series(tmp_path / "scan", VALUES[..., :2], name="b", SeriesNumber=3)
    uid = str(pydicom.dcmread(other[0]).SeriesInstanceUID)
    for key in ("3", "SOFT B", uid):
        assert open_dicom(tmp_path / "scan", key).shape == (6, 5, 2)
    with pytest.raises(BadData, match="'9' is none of them"):
        open_dicom(tmp_path / "scan", "9")
    volume(tmp_path / "data" / "images" / "a.nii.gz", np.zeros((6, 5, 4), np.uint8))
    volume(tmp_path / "data" / "masks" / "a.nii.gz", np.zeros((6, 5, 4), np.uint8))
    with pytest.raises(DataError, match="must hold folders of DICOM files to choose a series"):
        read_dataset(tmp_path / "data", "segmentation", wishes=Wishes.of({"series": "3"}))
    for path in first:
        change(path, Modality="SR")
    assert open_dicom(tmp_path / "scan").shape == (6, 5, 2)


def scans(folder: Path, kind: str, count: int = 6) -> None:
    """images/NAME/ with masks/NAME.dcm: two scans of each patient, segments numbered in two ways."""
    for index in range(count):
        rng = np.random.default_rng(index)
        values = rng.integers(0, 100, (6, 5, 4)).astype(np.int16)
        label = rng.integers(0, 3, values.shape).astype(np.uint8)
        label[..., 1] = 0
        values += label.astype(np.int16) * 1000
        images = series(folder / "images" / f"s{index}" / "study", values, patient=f"P{index // 2}")
        swapped = index % 2 == 1
        numbers = np.array([0, 2, 1], np.uint8)[label] if swapped else label
        names = ("tumour", "liver") if swapped else ("liver", "tumour")
        segmentation(folder / "masks" / f"s{index}.dcm", images, numbers, names, kind)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segmentations_are_label_maps_of_their_series(tmp_path: Path, kind: str) -> None:
    """Frames lie on the slices at their places, labels are matched by name, the scans of a patient stay together."""
    scans(tmp_path, kind)
    dataset = read_dataset(tmp_path, "segmentation")
    assert dataset.labels == ("background", "liver", "tumour") and dataset.has_affine
    groups = {case.id: case.group for case in all_cases(dataset)}
    for case in all_cases(dataset):
        sample = case.read()
        assert np.array_equal(sample.reference, np.clip((sample.image[..., 0] + 1024) // 2000, 0, 2)), case.id
    assert len(set(groups.values())) == 3 and all(groups[f"s{n}"] == groups[f"s{n + 1}"] for n in (0, 2, 4))
    assert not any("P1" in group for group in groups.values())
    assert any("PatientID" in text and "3 in 6 cases" in text for text in dataset.remarks)
    for index in range(6):
        scout = tmp_path / "images" / f"s{index}" / "study"
        series(scout, VALUES[..., :2], name="b", SeriesNumber=9, patient=f"P{index // 2}")
    with pytest.raises(DataError, match="must be one series") as caught:
        read_dataset(tmp_path, "segmentation")
    assert len(set(caught.value.problems)) == len(caught.value.problems)
    chosen = read_dataset(tmp_path, "segmentation", wishes=Wishes.of({"series": "soft"}))
    assert {case.id: case.group for case in all_cases(chosen)} == groups and chosen.reading.series == "soft"
    for path in (tmp_path / "images").rglob("b*.dcm"):
        path.unlink()
    assert read_dataset(tmp_path, "segmentation", ["air", "Tumour", "Liver"]).labels == ("air", "Tumour", "Liver")
    with pytest.raises(DataError, match="has the segment 'tumour', which --option labels must name"):
        read_dataset(tmp_path, "segmentation", ["air", "liver", "other"])
    volume(tmp_path / "masks" / "s0.nii.gz", np.zeros((6, 5, 4), np.uint8))
    (tmp_path / "masks" / "s0.dcm").unlink()
    with pytest.raises(DataError, match=r"s0\.nii\.gz must"):
        read_dataset(tmp_path, "segmentation")


def test_a_segmentation_of_something_else_is_refused(tmp_path: Path) -> None:
    """Another frame of reference, place or grid, overlapping segments, probabilities, and one without its series."""
    images, mask = series(tmp_path / "scan", VALUES), np.zeros(VALUES.shape, np.uint8)
    mask[1:3, 1:3, 1:3] = 1
    grid = Source(tmp_path / "scan")
    path = segmentation(tmp_path / "seg.dcm", images, mask, ["liver"], "BINARY")
    assert np.array_equal(open_dicom(path, grid=grid).read(), mask)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "one").write_bytes(path.read_bytes())
    assert np.array_equal(open_dicom(tmp_path / "folder", grid=grid).read(), mask)
    for at, words in (
        (None, "only be the label map of a DICOM series, not of no image"),
        (Source(tmp_path / "x.nii"), "not of .*x.nii"),
        (Source(series(tmp_path / "other", VALUES)[0].parent), "another frame of reference"),
        (Source(series(tmp_path / "wide", np.zeros((7, 5, 4), np.int16))[0].parent), "frame of reference|frames of"),
    ):
        with pytest.raises(BadData, match=words):
            open_dicom(path, grid=at)
    for tags, words in (
        ({"SegmentationType": "FRACTIONAL"}, "FRACTIONAL"),
        ({"SegmentSequence": []}, "does not describe"),
        ({"PerFrameFunctionalGroupsSequence": []}, "must say the place of each"),
        ({"SharedFunctionalGroupsSequence": None}, "must have one PixelMeasuresSequence"),
        ({"Modality": "CT"}, "is one DICOM image"),
    ):
        segmentation(path, images, mask, ["liver"], "BINARY")
        change(path, **tags)
        with pytest.raises(BadData, match=words):
            open_dicom(path, grid=grid)
    with pytest.raises(BadData, match="must be a DICOM segmentation to be a label map, it is CT"):
        open_segmentation(read_slice(images[0]), read_series(tmp_path / "scan"))
    segmentation(path, images, mask, ["liver"], "BINARY")
    series(tmp_path / "scan", VALUES, positions=[[*ORIGIN[:2], 500 + STEP * n] for n in range(4)])
    with pytest.raises(BadData, match="must lie on the grid of its series"):
        open_dicom(path, grid=grid)


def test_patients_are_told_by_a_digest(tmp_path: Path) -> None:
    """The same PatientID gives the same name, which does not have it; without an ID nothing is told."""
    for name, patient in (("a", "Müller 7"), ("b", "Müller 7"), ("c", "8"), ("d", "")):
        series(tmp_path / name, VALUES, patient=patient)
    names = [patient_of(Source(tmp_path / name)) for name in "abcd"]
    assert names[0] == names[1] != names[2] and names[3] is None
    assert "ller" not in json.dumps(names) and str(names[0]).startswith("patient-")
