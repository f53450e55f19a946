"""Picture files: every kind is read as what it means, or refused with its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from autoopt.errors import BadData
from autoopt.workloads.data.pictures import open_picture, read_index_mask, read_picture, read_picture_header

SIZE = (12, 10)


def numbers(high: int, *more: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, (*SIZE, *more))


def palette(path: Path, indices: np.ndarray) -> Path:
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0])
    image.save(path)
    return path


def test_sixteen_bits_of_grey_stay_sixteen(tmp_path: Path) -> None:
    """16-bit grey is uint16 as one channel, and eight bits where three channels are asked for."""
    path, values = tmp_path / "deep.png", numbers(65536).astype(np.uint16)
    Image.fromarray(values).save(path)
    for channels in (1, None):
        picture = read_picture(path, channels)  # type: ignore[arg-type]
        assert picture.dtype == np.uint16 and np.array_equal(picture[..., 0], values)
    assert read_picture(path, 3).dtype == np.uint8 and read_picture(path, 3).shape == (*SIZE, 3)
    assert np.array_equal(read_index_mask(path), values)


def test_a_palette_is_colours_of_a_picture_and_numbers_of_a_mask(tmp_path: Path) -> None:
    """The index of a palette is a label, its colour is a pixel."""
    indices = numbers(3)
    path = palette(tmp_path / "palette.png", indices)
    assert np.array_equal(read_index_mask(path), indices)
    picture = read_picture(path)
    assert (picture[indices == 1] == [200, 0, 0]).all() and (picture[indices == 0] == [10, 20, 30]).all()


def test_transparent_pixels_are_white(tmp_path: Path) -> None:
    """What a viewer shows on white paper is what is read, in colour and in grey."""
    colour = numbers(256, 4).astype(np.uint8)
    colour[..., 3] = 0
    Image.fromarray(colour).save(tmp_path / "colour.png")
    assert (read_picture(tmp_path / "colour.png") == 255).all()
    Image.fromarray(numbers(256, 2).astype(np.uint8) * np.array([1, 0], np.uint8)).save(tmp_path / "grey.png")
    grey = read_picture(tmp_path / "grey.png")
    assert grey.shape == (*SIZE, 1) and (grey == 255).all()


def test_grey_bits_and_four_inks(tmp_path: Path) -> None:
    """Grey values are kept exactly, bits are black and white, CMYK is turned to RGB."""
    grey = numbers(256).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_picture(tmp_path / "grey.png")[..., 0], grey)
    assert np.array_equal(read_picture(tmp_path / "grey.png", 3), np.repeat(grey[..., np.newaxis], 3, axis=2))
    bits = numbers(2).astype(bool)
    Image.fromarray(bits).save(tmp_path / "bits.png")
    assert np.array_equal(read_picture(tmp_path / "bits.png")[..., 0], bits * np.uint8(255))
    assert np.array_equal(read_index_mask(tmp_path / "bits.png"), bits)
    Image.new("CMYK", SIZE[::-1], (0, 255, 255, 0)).save(tmp_path / "inks.tif")
    red = read_picture(tmp_path / "inks.tif")
    assert red.shape == (*SIZE, 3) and (red[..., 0] > 200).all() and (red[..., 1:] < 60).all()


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    """EXIF rotation holds for the header and for the pixels."""
    photo = Image.fromarray(numbers(256, 3).astype(np.uint8))
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.save(tmp_path / "photo.jpg", exif=exif)
    assert read_picture_header(tmp_path / "photo.jpg").size == SIZE[::-1]
    assert read_picture(tmp_path / "photo.jpg").shape == (*SIZE[::-1], 3)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("key", ["Raw profile type exif", "XML:com.adobe.xmp"])
def test_a_png_turned_by_a_note_is_upright(tmp_path: Path, key: str, late: bool) -> None:
    """A PNG may keep the orientation of a photo in a text, before its pixels or behind them; the header says so too."""
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = exif.tobytes()
    profile = f"\nexif\n{len(raw):8d}\n{raw.hex()}\n"
    info = PngImagePlugin.PngInfo()
    info.add_text(key, profile if key.startswith("Raw") else '<x tiff:Orientation="6"/>')
    path, stored = tmp_path / "a.png", numbers(256, 3).astype(np.uint8)
    Image.fromarray(stored).save(path, pnginfo=info)
    if late:
        data = path.read_bytes()
        start = data.index(b"tEXt") - 4
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        place = data.index(b"IEND") - 4
        path.write_bytes(data[:start] + data[end:place] + data[start:end] + data[place:])
    upright = open_picture(path)
    assert upright.shape == SIZE[::-1] and np.array_equal(upright.read(), np.rot90(stored, -1))


def test_masks_of_equal_channels_are_grey(tmp_path: Path) -> None:
    """A mask stored as RGB or RGBA with equal colours holds its labels."""
    labels = numbers(3).astype(np.uint8)
    Image.fromarray(np.dstack([labels] * 3)).save(tmp_path / "rgb.png")
    Image.fromarray(np.dstack([labels] * 3 + [labels * 0])).save(tmp_path / "rgba.png")
    assert np.array_equal(read_index_mask(tmp_path / "rgb.png"), labels)
    assert np.array_equal(read_index_mask(tmp_path / "rgba.png"), labels)


def _cut(path: Path) -> None:
    Image.fromarray(numbers(256, 3).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-60])


def _pages(path: Path) -> None:
    pages = [Image.fromarray(numbers(256, seed=seed).astype(np.uint8)) for seed in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])


REFUSED: list[tuple[str, Callable[[Path], object], str]] = [
    ("cut.png", _cut, "must be a picture that can be read"),
    ("empty.png", lambda path: path.write_bytes(b""), "must be a picture that can be read"),
    ("text.jpg", lambda path: path.write_text("no picture"), "it is no image, or a broken one"),
    ("none.png", lambda path: None, "must be a picture that can be read"),
    ("float.tif", lambda path: Image.fromarray(numbers(9).astype(np.float32)).save(path), "floating-point"),
    ("stack.tif", _pages, "must hold one picture, it holds 3"),
    ("wide.tif", lambda path: Image.fromarray(numbers(9).astype(np.int32) - 1).save(path), "from 0 to 65535"),
]


@pytest.mark.parametrize(("name", "write", "message"), REFUSED)
def test_what_is_no_picture_is_refused(
    tmp_path: Path, name: str, write: Callable[[Path], object], message: str
) -> None:
    """A file without one meaning is refused with its name, as a picture and as a mask."""
    write(tmp_path / name)
    for read in (read_picture, read_index_mask):
        with pytest.raises(BadData, match=rf"{name} .*{message}"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "message"), [("red.png", "its pixels have colours"), ("lossy.jpg", "JPEG changes the values")]
)
def test_what_keeps_no_label_is_no_mask(tmp_path: Path, name: str, message: str) -> None:
    """Colours and lossy compression name no labels."""
    Image.new("RGB", SIZE[::-1], (255, 0, 0)).save(tmp_path / name)
    with pytest.raises(BadData, match=rf"{name} .*{message}"):
        read_index_mask(tmp_path / name)


def test_a_bomb_is_refused_with_its_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's limit holds before pixels are decoded, and the message has their number."""
    Image.fromarray(numbers(256).astype(np.uint8)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    for read in (read_picture, read_index_mask):
        with pytest.raises(BadData, match=r"bomb\.png .*120 pixels"):
            read(tmp_path / "bomb.png")
