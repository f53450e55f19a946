"""What a user asks for of a data folder is done, in the search and for files that come later, and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from autoopt.errors import BadData, DataError, WorkloadError
from autoopt.workloads.data.dataset import Dataset, read_dataset
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.reading import Reading
from autoopt.workloads.data.wishes import Wishes
from tests.workloads.data import folders


def read(folder: Path, **options: Any) -> Dataset:
    return read_dataset(folder, "segmentation", wishes=Wishes.of(options))


def later(found: Dataset, path: Path) -> np.ndarray:
    """The image in a file as a bundle of the search reads it."""
    reading = Reading.from_json(found.reading.to_json())
    return reading.image(Source(path), found.dimensions, found.channels)[0]


def series(folder: Path, count: int = 3, step: float = 2.5) -> Path:
    for index in range(6):
        label = folders.random_of(index).integers(0, 3, (6, 5, 4)).astype(np.uint8)
        values = folders.random_of(index).normal(size=(6, 5, 4, count)).astype(np.float32)
        image = nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 2.0, 1.0]))
        image.header["pixdim"][4] = step
        image.header.set_xyzt_units("mm", "sec")
        (folder / "images").mkdir(parents=True, exist_ok=True)
        nibabel.save(image, folder / "images" / f"v{index}.nii.gz")
        folders.volume(folder / "masks" / f"v{index}.nii.gz", label)
    return folder


def test_volumes_of_one_file_are_channels_and_a_time_series_only_when_asked(tmp_path: Path) -> None:
    """A 4D NIfTI is an image of channels beside its 3D label map; a stated step in time is refused until asked for."""
    found = read(series(tmp_path / "channels", step=1.0))
    case = found.splits.train[0]
    assert (found.channels, found.dimensions) == (3, 3) and case.read().image.shape == (6, 5, 4, 3)
    folder = series(tmp_path / "time")
    path = folder / "images" / "v0.nii.gz"
    with pytest.raises(
        DataError, match=r"v0\.nii\.gz must hold one image, it holds a time series of 3 volumes, 2\.5 sec"
    ):
        read(folder)
    with pytest.raises(BadData, match=r"a time series .* say so with --option volumes=channels"):
        later(found, path)
    asked = read(folder, volumes="channels")
    wanted = next(case for case in folders.all_cases(asked) if case.id == "v0").read().image
    assert wanted.shape == (6, 5, 4, 3) and np.array_equal(later(asked, path), wanted)


def test_grey_images_for_a_model_of_colours(tmp_path: Path) -> None:
    """One channel is given as many times as was asked for, and said; other numbers of channels are refused."""
    for index in range(6):
        folders.picture(tmp_path / "images" / f"{index}.png", index, mode="L")
        folders.mask(tmp_path / "masks" / f"{index}.png", index)
    found, plain = read(tmp_path, channels=3), read(tmp_path)
    image = found.splits.train[0].read().image
    assert found.channels == 3 and image.shape == (*folders.SIZE, 3)
    assert np.array_equal(image, np.repeat(plain.splits.train[0].read().image, 3, axis=-1))
    assert np.array_equal(later(found, tmp_path / "images" / f"{found.splits.train[0].id}.png"), image)
    assert any("images have one channel, the model is given 3 equal ones" in text for text in found.remarks)
    assert found.digest != plain.digest
    heads = read(folders.volumes(tmp_path / "heads"), channels=2)
    image = heads.splits.train[0].read().image
    assert image.shape == (6, 5, 4, 2)
    assert np.array_equal(later(heads, tmp_path / "heads" / "images" / f"{heads.splits.train[0].id}.nii.gz"), image)
    with pytest.raises(WorkloadError, match=r"the model takes 4 channel\(s\), the images have 3: leave the option out"):
        read(folders.pairs(tmp_path / "rgb"), channels=4)


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    """NaN outside of the body is refused, or read as the number that was asked for; in a label it is always refused."""
    folder = folders.volumes(tmp_path)
    for path in (folder / "images").iterdir():
        values = np.asarray(nibabel.load(path).dataobj).copy()  # type: ignore[attr-defined]
        values[:2] = np.nan
        folders.volume(path, values)
    with pytest.raises(
        BadData, match=r"60|40 of its 120 values are NaN or infinite; a search with --option nan=0 reads"
    ):
        read(folder).splits.train[0].read()
    found = read(folder, nan=-1)
    case = found.splits.train[0]
    image = case.read().image
    assert image[:2].max() == image[:2].min() == -1 and image[2:].min() == 0
    assert np.array_equal(later(found, folder / "images" / f"{case.id}.nii.gz"), image)
    assert any("are read as -1" in text for text in found.remarks)
    label = folder / "masks" / "v0.nii.gz"
    folders.volume(label, np.full((6, 5, 4), np.nan, np.float32))
    with pytest.raises(DataError, match=r"masks/v0\.nii\.gz must hold finite numbers"):
        read(folder, nan=0)
