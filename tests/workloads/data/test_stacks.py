"""TIFF files of several pages: what OME-XML and ImageJ say of them is done, and nothing is read as its first page.

tests/golden/tiff was written by tifffile 2026.3.3 from `np.arange`, as each test repeats it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoopt.deploy.outputs import ARRAY, PICTURE, kind_of
from autoopt.errors import BadData, DataError
from autoopt.workloads.data.dataset import read_dataset
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.pictures import read_rgb
from autoopt.workloads.data.readers import name_of, open_image
from autoopt.workloads.data.stacks import is_stack, open_stack
from tests.workloads.data import folders

GOLDEN = Path(__file__).parents[2] / "golden" / "tiff"
PAGES = np.arange(12 * 4 * 5, dtype=np.uint16).reshape(12, 4, 5)


def ome(pixels: str, inner: str = "", before: str = "") -> str:
    head = (
        f'<?xml version="1.0" encoding="UTF-8"?>{before}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    )
    return f'{head}<Image ID="Image:0"><Pixels ID="Pixels:0" {pixels}>{inner}</Pixels></Image></OME>'


def write(path: Path, description: str, pages: np.ndarray = PAGES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = (Image.fromarray(page) for page in pages)
    first.save(path, save_all=True, append_images=rest, tiffinfo={270: description})
    return path


@pytest.mark.parametrize("name", ["zcyx.ome.tif", "zcyx_imagej.tif"])
def test_slices_and_channels_of_another_program(name: str) -> None:
    """A stack that tifffile wrote, as OME-TIFF or for ImageJ, has its slices, channels and the size of a voxel."""
    opened = open_image(Source(GOLDEN / name))
    wanted = np.moveaxis(np.arange(120, dtype=np.uint16).reshape(3, 2, 4, 5) * 100, 1, -1)
    assert (opened.shape, opened.channels, opened.value_range, opened.volumes) == ((3, 4, 5), 2, 65535.0, None)
    assert opened.read().dtype == np.uint16 and np.array_equal(opened.read(), wanted)
    assert opened.affine is not None
    np.testing.assert_allclose(np.linalg.norm(opened.affine[:3, :3], axis=0), (0.002, 0.00025, 0.0005))
    np.testing.assert_allclose(opened.affine @ (1, 0, 0, 1), (0, 0, 0.002, 1))  # the first axis is z


def test_colours_within_pages() -> None:
    """Three samples of a page are three channels of each slice; a size that is not told is no affine."""
    opened = open_image(Source(GOLDEN / "zyxs.ome.tif"))
    assert (opened.shape, opened.channels, opened.affine) == ((2, 4, 5), 3, None)
    assert np.array_equal(opened.read(), np.arange(120, dtype=np.uint8).reshape(2, 4, 5, 3))


@pytest.mark.parametrize(
    ("description", "shape", "channels", "pages"),
    [
        (ome('DimensionOrder="XYCZT" SizeC="3" SizeZ="4" SizeT="1"'), (4, 4, 5), 3, [0, 1, 2]),
        (ome('DimensionOrder="XYZCT" SizeC="3" SizeZ="4" SizeT="1"'), (4, 4, 5), 3, [0, 4, 8]),
        (ome('DimensionOrder="XYZCT" SizeC="12" SizeZ="1" SizeT="1"'), (4, 5), 12, list(range(12))),
        (
            ome(
                'DimensionOrder="XYZCT" SizeC="2" SizeZ="1" SizeT="1"',
                '<TiffData IFD="1" FirstC="0" PlaneCount="1"/><TiffData IFD="0" FirstC="1"/>',
            ),
            (4, 5),
            2,
            [1, 0],
        ),
        ("ImageJ=1.54f\nimages=12\nchannels=2\nslices=6\n", (6, 4, 5), 2, [0, 1]),
    ],
)
def test_the_pages_of_the_first_slice(
    tmp_path: Path, description: str, shape: tuple[int, ...], channels: int, pages: list[int]
) -> None:
    """The order of the axes, or the place of each page, says which pages are the channels of a slice."""
    count = shape[0] * channels if len(shape) == 3 else channels
    opened = open_stack(write(tmp_path / "x.tif", description, PAGES[:count]))
    assert (opened.shape, opened.channels) == (shape, channels)
    values = opened.read()
    assert values.shape == (*shape, channels)
    assert np.array_equal(values if len(shape) == 2 else values[0], np.moveaxis(PAGES[pages], 0, -1))


SINGLE = ome('DimensionOrder="XYZCT" SizeC="1" SizeZ="{}" SizeT="{}"')
BAD = {
    "nothing told": ("", r"must say what its 12 pages are, channels, slices or times: store it as OME-TIFF"),
    "ImageJ of more pages": (
        "ImageJ=1\nimages=30\nslices=30\n",
        r"hold the 30 pages of its description and no others, it holds 12",
    ),
    "ImageJ of another number": ("ImageJ=1\nimages=12\nslices=5\n", r"must say what its 12 pages are"),
    "OME of more pages": (
        SINGLE.format(20, 1),
        r"must hold the 20 pages of its description and no others, it holds 12",
    ),
    "OME of fewer pages": (SINGLE.format(11, 1), r"hold the 11 pages of its description and no others, it holds 12"),
    "times of channels": (
        ome('DimensionOrder="XYCZT" SizeC="3" SizeZ="1" SizeT="4"'),
        r"must hold one image, it holds 4 times of 3 channels",
    ),
    "several images": (SINGLE.format(12, 1).replace("</OME>", "<Pixels/></OME>"), r"OME-XML describes 2"),
    "several files": (
        ome(
            'DimensionOrder="XYCZT" SizeC="1" SizeZ="12" SizeT="1"',
            "<TiffData IFD='0'><UUID>a</UUID></TiffData><TiffData IFD='1'><UUID>b</UUID></TiffData>",
        ),
        r"its image, they lie in 2 files",
    ),
    "a page that is not placed": (
        ome('DimensionOrder="XYCZT" SizeC="1" SizeZ="12" SizeT="1"', "<TiffData IFD='0'/>"),
        r"must say where each of its 12 pages is, it does of 1",
    ),
    "no number": (SINGLE.format("many", 1), r"whole numbers from 1 in its description of pages, it has 'many'"),
    "entities": (ome("", before='<!DOCTYPE x [<!ENTITY a "b">]>'), r"must have plain OME-XML, it defines entities"),
    "broken XML": ("<OME><Image>", r"must have OME-XML that can be read"),
    "an order that is none": (ome('DimensionOrder="XYCZ" SizeZ="12"'), r"OME-XML with an order of the axes"),
    "a huge number of pages": (SINGLE.format(99999999, 999999), r"at most 100000 pages"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_stack_is_named(tmp_path: Path, kind: str) -> None:
    """A file that does not say what its pages are, or says what does not hold, is refused by its name."""
    description, says = BAD[kind]
    path = write(tmp_path / "x.tif", description)
    with pytest.raises(BadData, match=says) as caught:
        open_image(Source(path))
    assert str(path) in str(caught.value)


def test_no_file_is_read_as_its_first_page(tmp_path: Path) -> None:
    """Pages of other sizes, one page of a stack that says it has more, and a stack where a picture is meant."""
    first, second = Image.fromarray(PAGES[0]), Image.fromarray(PAGES[0][:2])
    first.save(tmp_path / "x.tif", save_all=True, append_images=[second], tiffinfo={270: SINGLE.format(2, 1)})
    with pytest.raises(BadData, match="must have upright pages of one size and type"):
        open_image(Source(tmp_path / "x.tif"))
    alone = write(tmp_path / "alone.tif", "ImageJ=1.54f\nimages=30\nslices=30\n", PAGES[:1])
    with pytest.raises(BadData, match="must hold the 30 pages of its description and no others, it holds 1"):
        open_image(Source(alone))
    stack = write(tmp_path / "stack.tif", SINGLE.format(12, 1))
    with pytest.raises(BadData, match="must hold one picture, it holds 12"):
        read_rgb(stack)
    plain = folders.picture(tmp_path / "plain.tif", 0)
    assert is_stack(stack) and not is_stack(plain) and not is_stack(tmp_path / "none.tif")
    assert (kind_of(stack), kind_of(plain)) == (ARRAY, PICTURE)
    assert name_of(tmp_path / "a.OME.tif") == "a"


def test_a_folder_of_stacks(tmp_path: Path) -> None:
    """Stacks with label stacks are cases of volumes; images of different times are refused until asked for."""
    for index in range(6):
        label = folders.random_of(index).integers(0, 3, (6, 4, 5)).astype(np.uint8)
        write(tmp_path / "a" / "images" / f"{index}.ome.tif", SINGLE.format(6, 1), label * 10)
        write(tmp_path / "a" / "masks" / f"{index}.tif", SINGLE.format(6, 1), label)
    found = read_dataset(tmp_path / "a", "segmentation")
    sample = found.splits.train[0].read()
    assert (found.dimensions, found.channels, sample.image.shape) == (3, 1, (6, 4, 5, 1))
    assert np.array_equal(sample.image[..., 0], np.asarray(sample.reference) * 10)
    write(tmp_path / "a" / "images" / "0.ome.tif", SINGLE.format(1, 6), PAGES[:6])
    with pytest.raises(DataError, match=r"it holds 6 images of different times: .* --option volumes=channels"):
        read_dataset(tmp_path / "a", "segmentation")
