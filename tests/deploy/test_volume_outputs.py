"""Masks of NRRD, MetaImage and DICOM: in the place of their images, with the names of their labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from autoopt.deploy.dicom_output import segmentation_bytes
from autoopt.deploy.inputs import find_inputs
from autoopt.deploy.predict_files import predict_files
from autoopt.deploy.volume_masks import metaimage_bytes, nrrd_bytes
from autoopt.errors import BadData, UsageError
from autoopt.workloads.data.dicom import open_dicom
from autoopt.workloads.data.dicom_headers import read_slices
from autoopt.workloads.data.dicom_series import read_series
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.metaimage import open_metaimage
from autoopt.workloads.data.nrrd import open_nrrd
from autoopt.workloads.data.reading import Reading
from tests.deploy.test_predict_files import VOLUMES, bundle, files_in
from tests.workloads.data.dicom_files import series
from tests.workloads.data.test_stored_voxels import meta, nrrd

OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)
VALUES = np.random.default_rng(0).integers(0, 3, (9, 8, 10)).astype(np.int16)
WANTED = VALUES > 0
"""What the fake runtime answers: class 1 where the value is above 0.5."""


def inputs(folder: Path) -> Path:
    """A scan in each format, one of them DICOM in a tree of folders."""
    series(folder / "P1" / "STUDY" / "scan", VALUES, orientation=OBLIQUE, RescaleSlope=1, RescaleIntercept=0)
    data = VALUES.tobytes(order="F")
    nrrd(folder / "a.nrrd", data, sizes="9 8 10", space="right-anterior-superior")
    meta(folder / "b.mha", data, sizes="9 8 10", more="TransformMatrix = 0 1 0 1 0 0 0 0 -1\nOffset = 0.1 2 3\n")
    return folder


def test_masks_lie_where_their_images_lie(tmp_path: Path) -> None:
    """NRRD, MetaImage and a DICOM series get a mask of their own format, bit for bit in the same place, with labels."""
    data, labels = inputs(tmp_path / "data"), ("background", "tumour, left")
    model = bundle(tmp_path, VOLUMES, Reading(), labels)
    done = predict_files(model, [data], tmp_path / "out", stand_ins=True)
    assert done.failed == {}
    assert files_in(tmp_path / "out") == {"a.seg.nrrd", "b.mha", "P1/STUDY/scan.seg.dcm"}
    scan = data / "P1" / "STUDY" / "scan"
    pairs = (
        (open_nrrd(tmp_path / "out" / "a.seg.nrrd"), open_nrrd(data / "a.nrrd")),
        (open_metaimage(tmp_path / "out" / "b.mha"), open_metaimage(data / "b.mha")),
        (open_dicom(tmp_path / "out" / "P1" / "STUDY" / "scan.seg.dcm", grid=Source(scan)), open_dicom(scan)),
    )
    for mask, image in pairs:
        assert mask.affine is not None and np.array_equal(mask.affine, image.affine)
        assert np.array_equal(mask.read(), WANTED) and mask.read().dtype == np.uint8
    assert pairs[0][0].label_names == pairs[2][0].label_names == {1: "tumour, left"}
    for name in ("a.seg.nrrd", "b.mha", "P1/STUDY/scan.seg.dcm"):
        assert b"tiny (demo data)" in (tmp_path / "out" / name).read_bytes(), name

    again = predict_files(model, [scan], tmp_path / "nii", stand_ins=True, mask_format="nifti")
    assert [path.name for path in again.written["scan"]] == ["scan.nii.gz"]
    made = nibabel.load(tmp_path / "nii" / "scan.nii.gz")
    assert np.array_equal(made.affine.astype(np.float32), np.float32(pairs[2][1].affine))  # type: ignore[attr-defined]
    assert np.array_equal(np.asarray(made.dataobj), WANTED)  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="--format must be one of same, nifti, got 'dicom'"):
        predict_files(model, [scan], tmp_path / "nii", stand_ins=True, mask_format="dicom")  # type: ignore[arg-type]


def test_several_labels_at_once_keep_their_places(tmp_path: Path) -> None:
    """Labels that overlap are segments of one DICOM object, and files of 0 and 1 in the other formats."""
    data = inputs(tmp_path / "data")
    model = bundle(tmp_path, replace(VOLUMES, activation="sigmoid", threshold=0.9), Reading(), ("lung", "nodule"))
    predict_files(model, [data], tmp_path / "out", stand_ins=True)
    masks = {
        f"{name}_{label}{end}" for label in ("lung", "nodule") for name, end in (("a", ".seg.nrrd"), ("b", ".mha"))
    }
    assert files_in(tmp_path / "out") == {*masks, "P1/STUDY/scan.seg.dcm"}
    assert open_nrrd(tmp_path / "out" / "a_nodule.seg.nrrd").label_names == {1: "nodule"}
    found = pydicom.dcmread(tmp_path / "out" / "P1" / "STUDY" / "scan.seg.dcm")
    frames = found.pixel_array.reshape(-1, 8, 9)
    segments = [
        group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for group in found.PerFrameFunctionalGroupsSequence
    ]
    nodule = frames[[number for number, segment in enumerate(segments) if segment == 2]]
    assert np.array_equal(nodule.transpose(2, 1, 0), WANTED)


def test_a_segmentation_says_what_it_belongs_to(tmp_path: Path) -> None:
    """It has the patient and study of its series in any alphabet, refers to every slice, and names the model."""
    paths = series(
        tmp_path / "scan",
        VALUES,
        patient="Ä7",
        StudyID="S",
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Müller^Zoë",
    )
    scan = read_series(tmp_path / "scan")
    empty = np.zeros(VALUES.shape, bool)
    (tmp_path / "x.dcm").write_bytes(segmentation_bytes([("liver", empty)], scan, "tiny", "ab" * 32))
    found, image = pydicom.dcmread(tmp_path / "x.dcm"), pydicom.dcmread(paths[0])
    assert (found.PatientName, found.PatientID) == ("Müller^Zoë", "Ä7")
    for name in ("StudyInstanceUID", "FrameOfReferenceUID"):
        assert found[name].value == image[name].value
    told = {item.ReferencedSOPInstanceUID for item in found.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert told == {item.sop_uid for item in read_slices(tmp_path / "scan")}
    algorithm = found.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("tiny", "ab" * 32)
    assert found.NumberOfFrames == 1 and not found.pixel_array.any()
    nameless = replace(scan, slices=tuple(replace(item, frame_of_reference="") for item in scan.slices))
    with pytest.raises(BadData, match=r"must have a FrameOfReferenceUID, .* --format nifti"):
        segmentation_bytes([("liver", empty)], nameless, "tiny", "")


def test_series_are_inputs_as_folders(tmp_path: Path) -> None:
    """A folder of DICOM files is one input, given by itself or found below another; one of several is chosen."""
    data = inputs(tmp_path / "data")
    scan = data / "P1" / "STUDY" / "scan"
    assert [item.name for item in find_inputs([data], tmp_path / "out").inputs] == ["P1/STUDY/scan", "a.nrrd", "b.mha"]
    assert [item.name for item in find_inputs([scan], tmp_path / "out").inputs] == ["scan"]
    outside = series(tmp_path / "outside", VALUES)[0]
    (scan / "link.dcm").symlink_to(outside)
    for place, name in ((scan, "scan"), (data, "P1/STUDY/scan")):
        assert "link.dcm is a link that leads out" in find_inputs([place], tmp_path / "out").problems[name]
    (scan / "link.dcm").unlink()
    series(scan, VALUES[..., :5], name="b", SeriesNumber=7, RescaleSlope=1, RescaleIntercept=0)
    model = bundle(tmp_path, VOLUMES, Reading())
    done = predict_files(model, [scan], tmp_path / "out", stand_ins=True)
    assert "must be one series, it holds 2" in done.failed["scan"]
    predict_files(model, [scan], tmp_path / "out", stand_ins=True, series="7")
    path = tmp_path / "out" / "scan.seg.dcm"
    assert np.array_equal(open_dicom(path, grid=Source(scan, "7")).read(), WANTED[..., :5])


def test_odd_names_and_titles_make_whole_headers(tmp_path: Path) -> None:
    """A label or title with line breaks cannot add lines to a header."""
    image = nrrd(tmp_path / "a.nrrd", VALUES.tobytes(order="F"), sizes="9 8 10")
    (tmp_path / "m.nrrd").write_bytes(nrrd_bytes(WANTED, image, {1: "a\nsizes: 1 1 1"}, "x\n\ny"))
    assert open_nrrd(tmp_path / "m.nrrd").label_names == {1: "a sizes: 1 1 1"}
    other = meta(tmp_path / "a.mha", VALUES.tobytes(order="F"), sizes="9 8 10")
    (tmp_path / "m.mha").write_bytes(metaimage_bytes(WANTED, other, "x\nDimSize = 1 1 1"))
    assert np.array_equal(open_metaimage(tmp_path / "m.mha").read(), WANTED)
