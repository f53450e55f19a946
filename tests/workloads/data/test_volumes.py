"""Reading NIfTI volumes: what is read, and that everything wrong is refused with the file's name."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest

from autoopt.errors import BadData
from autoopt.workloads.data.volumes import (
    check_same_grid,
    memory_problem,
    open_volume,
    read_header,
    read_mask,
    read_volume,
)

AFFINE = np.array([[-2.0, 0, 0, 90], [0, 2.0, 0, -100], [0, 0, 3.0, -40], [0, 0, 0, 1]])


def save(path: Path, values: np.ndarray, affine: np.ndarray | None = AFFINE) -> Path:
    """A NIfTI file whose sform is the affine; without one neither its sform nor its qform is set."""
    data = bytearray(nibabel.Nifti1Image(values, AFFINE).to_bytes())
    # nibabel refuses to write some of what others do write.
    data[252:256] = struct.pack("<hh", 0, 0 if affine is None else 1)
    if affine is not None:
        data[280:328] = affine[:3].astype("<f4").tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def ramp(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def test_reads_values_and_affine(tmp_path: Path) -> None:
    """Integers come as they are stored, in the order of the file, with the affine of the file."""
    values, affine = read_volume(save(tmp_path / "v.nii.gz", ramp(4, 5, 6)))

    assert values.dtype == np.int16
    np.testing.assert_array_equal(values, ramp(4, 5, 6))
    np.testing.assert_allclose(affine, AFFINE)


def test_applies_the_scaling_of_the_file(tmp_path: Path) -> None:
    """Slope and intercept of the header are applied, and the result is float32."""
    image = nibabel.Nifti1Image(ramp(3, 3, 3), AFFINE)
    image.header.set_slope_inter(0.5, 10.0)
    path = tmp_path / "v.nii"
    nibabel.save(image, path)

    values, _ = read_volume(path)

    stored = np.frombuffer(path.read_bytes()[352:], "<i2").reshape((3, 3, 3), order="F")
    slope = np.frombuffer(path.read_bytes()[112:120], "<f4")
    assert values.dtype == np.float32 and slope[0] == 0.5
    np.testing.assert_allclose(values, stored * slope[0] + slope[1])


def test_drops_trailing_axes_of_one(tmp_path: Path) -> None:
    """A series of a single volume is that volume."""
    values, _ = read_volume(save(tmp_path / "v.nii.gz", ramp(4, 5, 6, 1, 1)))

    assert values.shape == (4, 5, 6)


def test_without_an_affine_the_voxel_size_decides(tmp_path: Path) -> None:
    """A file with neither sform nor qform is read as RAS with the voxel size of its header."""
    header = read_header(save(tmp_path / "v.nii", ramp(4, 5, 6), affine=None))

    np.testing.assert_allclose(header.affine, np.diag([2.0, 2.0, 3.0, 1.0]))


def spoiled(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "v.nii.gz"
    values = ramp(4, 5, 6).astype(np.float32)
    if kind == "text":
        path.write_text("no volume")
    elif kind == "series":
        save(path, ramp(4, 5, 6, 2))
    elif kind == "flat":
        save(path, ramp(4, 5))
    elif kind == "zero size":
        save(path, np.zeros((4, 0, 6), np.int16))
    elif kind == "nan":
        values[1, 2, 3], values[0, 0, 0] = np.nan, np.inf
        save(path, values)
    elif kind == "singular":
        save(path, values, np.diag([2.0, 2.0, 0.0, 1.0]))
    elif kind == "twice the same axis":
        save(path, values, np.array([[2.0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]))
    elif kind == "colours":
        save(path, np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")]))
    elif kind == "cut":
        save(path, np.random.default_rng(0).integers(0, 9999, (20, 20, 20)).astype(np.int16))
        path.write_bytes(path.read_bytes()[:2000])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"v.nii.gz must be a whole NIfTI file that can be read: "),
        ("text", r"v.nii.gz must be a whole NIfTI file that can be read: "),
        ("cut", r"v.nii.gz must be a whole NIfTI file that can be read: "),
        ("series", r"one 3D volume, its shape is \(4, 5, 6, 2\): store one volume of the series"),
        ("flat", r"a 3D volume, none of its sizes zero, its shape is \(4, 5\)"),
        ("zero size", r"a 3D volume, none of its sizes zero, its shape is \(4, 0, 6\)"),
        ("nan", r"must hold finite numbers, 2 of its 120 values are NaN or infinite"),
        ("singular", r"must have an affine that maps its voxels to a volume in mm, it is"),
        ("twice the same axis", r"must have an affine that maps its voxels to a volume in mm, it is"),
        ("colours", r"must hold one real number per voxel, its voxels are"),
    ],
)
def test_refuses_what_is_no_volume(tmp_path: Path, kind: str, message: str) -> None:
    """Every kind of broken file is one BadData with the file's name and what came."""
    with pytest.raises(BadData, match=message) as caught:
        read_volume(spoiled(tmp_path, kind))

    assert str(tmp_path / "v.nii.gz") in str(caught.value)


def test_headers_tell_what_they_can(tmp_path: Path) -> None:
    """Opening a file reads its header only; a wrong shape is found without reading a voxel."""
    path = save(tmp_path / "good.nii.gz", ramp(4, 5, 6))
    opened = open_volume(path)
    assert (opened.shape, opened.channels) == ((4, 5, 6), 1) and opened.affine is not None
    np.testing.assert_array_equal(opened.read(), ramp(4, 5, 6))
    with pytest.raises(BadData, match="a 3D volume"):
        open_volume(spoiled(tmp_path, "flat"))


@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (4, 5, 6, 1, 3)])
def test_volumes_on_one_grid_are_channels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """The fourth axis, as the Decathlon has it, or the fifth, as ITK writes vectors, is that of channels."""
    opened = open_volume(save(tmp_path / "v.nii.gz", ramp(*shape)))
    assert (opened.shape, opened.channels, opened.volumes) == ((4, 5, 6, 3), None, None)
    np.testing.assert_array_equal(opened.read(), ramp(4, 5, 6, 3))


@pytest.mark.parametrize(
    ("count", "step", "unit", "says"),
    [
        (4, 1.0, "sec", None),  # what ITK writes whatever the axis is
        (4, 0.0, "sec", None),
        (4, 2.5, "unknown", None),
        (4, 2.5, "sec", "a time series of 4 volumes, 2.5 sec apart by its header"),
        (12, 1.0, "sec", "a series of 12 volumes, which its header does not call channels"),
    ],
)
def test_a_time_series_is_told_from_channels(
    tmp_path: Path, count: int, step: float, unit: str, says: str | None
) -> None:
    """A step in time that the header states, and many volumes, are no channels until somebody says so."""
    image = nibabel.Nifti1Image(ramp(4, 5, 6, count), AFFINE)
    image.header["pixdim"][4] = step
    image.header.set_xyzt_units("mm", unit)
    path = tmp_path / "v.nii.gz"
    nibabel.save(image, path)
    assert open_volume(path).volumes == says


def test_refuses_what_does_not_fit_into_memory(tmp_path: Path) -> None:
    """The header decides before any voxel is read, and the message has both sizes."""
    path = save(tmp_path / "v.nii.gz", ramp(40, 50, 60))

    assert memory_problem((40, 50, 60), 120_000 * 24) is None
    with pytest.raises(BadData, match=r"v.nii.gz must fit into memory: its 40x50x60 .* 0.00288 GB, 0.001 GB are free"):
        read_volume(path, available_bytes=1_000_000)


def test_masks_have_known_labels_only(tmp_path: Path) -> None:
    """A mask is uint8 whatever it is stored as; other values are listed."""
    mask = (ramp(4, 5, 6) % 2).astype(np.float32)
    read = read_mask(save(tmp_path / "m.nii.gz", mask), (0, 1))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, mask)

    mask[0, 0, 0], mask[1, 1, 1] = 0.5, 255
    with pytest.raises(BadData, match=r"m.nii.gz must hold the labels 0, 1 only, it also holds 0.5, 255$"):
        read_mask(save(tmp_path / "m.nii.gz", mask), (0, 1))


def test_a_mask_lies_on_its_image() -> None:
    """Another shape or place is refused with both; what rounding does to an affine is not."""
    image, mask = Path("i.nii.gz"), Path("m.nii.gz")
    check_same_grid(image, (4, 5, 6), AFFINE, mask, (4, 5, 6), AFFINE + 1e-4)

    with pytest.raises(BadData, match=r"m.nii.gz must have the shape of its image i.nii.gz, \(4, 5, 6\), it has"):
        check_same_grid(image, (4, 5, 6), AFFINE, mask, (4, 6, 5), AFFINE)
    moved = AFFINE.copy()
    moved[0, 3] += 1
    with pytest.raises(BadData, match=r"m.nii.gz must lie where its image i.nii.gz lies: .*91.0.*90.0.*resample"):
        check_same_grid(image, (4, 5, 6), AFFINE, mask, (4, 5, 6), moved)
