"""The embedded demo data of the dfu workload: synthetic skin with and without a wound, the same on every machine.

Every invented photo has its own skin, lamp, focus and camera, and gives a few patches: of skin with creases, hairs,
redness, callus, scabs, bruises, birthmarks, healed wounds, cloth or shadow in them, and of ulcers, which have a bed
of granulation, slough or necrosis, a rim and inflamed surroundings. Single colours tell little: red, yellow, brown and
black are in both. All lengths are half pixels of a patch.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from autoopt.workloads.demo.canvas import SIZE as CANVAS
from autoopt.workloads.demo.canvas import Array, Draw, spline
from autoopt.workloads.demo.folders import write_demo

GENERATOR = "dfu-demo"
VERSION = 1
SEED = 5
"""The first part of every seed here; other demo data have others."""
SIZE = 112
PATCHES = 8
PHOTO_SPLITS = (("train", 38), ("val", 12), ("test", 12))
LABELS = ("skin", "ulcer")
TAPS = 4
"""A cubic B-spline reaches over four knots."""


@dataclass(frozen=True)
class Photo:
    """What the patches of one photo have in common: skin and light as (3,) reflectances in red, green and blue."""

    index: int
    split: str
    skin: Array
    light: Array
    focus: float
    noise: float
    crease: float
    hair: float

    @property
    def name(self) -> str:
        """The photo in the manifest."""
        return f"F{self.index:02d}"


def photos() -> list[Photo]:
    """All photos, in the order of their names."""
    splits = [split for split, count in PHOTO_SPLITS for _ in range(count)]
    return [_photo(index, split) for index, split in enumerate(splits)]


def write(folder: Path) -> None:
    """Fill `folder` with skin/, ulcer/, manifest.csv and demo.json; return at once when it is already there."""
    write_demo(folder, GENERATOR, VERSION, _fill)


def draw_patch(photo: Photo, index: int) -> np.ndarray:
    """Patch number `index` of a photo, uint8 (112, 112, 3); odd ones are ulcers."""
    draw = Draw(SEED, 1, photo.index, index)
    rows, columns = (2.0 * axis - (SIZE - 1) for axis in np.mgrid[:SIZE, :SIZE])
    image = _skin(photo, draw)
    for paint in (_redness, _callus, _scab, _bruise):
        if draw.happens(0.45):
            image = paint(image, draw, rows, columns)
    if index % 2:
        image = _ulcer(image, draw, rows, columns)
    else:
        for mimic in (_birthmark, _healed, _crust):
            if draw.happens(0.25):
                image = mimic(image, draw, rows, columns)
    if draw.happens(0.35):
        image = _cloth(image, draw, rows, columns)
    return _photographed(image, photo, draw, rows, columns)


def _fill(folder: Path) -> str:
    from PIL import Image

    digest = hashlib.sha256()
    lines = ["file,label,photo,split,group"]
    for name in LABELS:
        (folder / name).mkdir()
    for photo in photos():
        for index in range(PATCHES):
            pixels, label = draw_patch(photo, index), index % 2
            file = f"{LABELS[label]}/{photo.name}-{index}.png"
            digest.update(file.encode() + pixels.tobytes())
            Image.fromarray(pixels).save(folder / file, compress_level=1)
            lines.append(f"{file},{label},{photo.name},{photo.split},{photo.name}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return digest.hexdigest()


def _photo(index: int, split: str) -> Photo:
    draw = Draw(SEED, 0, index)
    depth = draw.one(0.0, 1.0)  # from light to dark skin
    light, dark = np.array([0.86, 0.66, 0.55]), np.array([0.42, 0.27, 0.20])
    return Photo(
        index=index,
        split=split,
        skin=np.asarray(light + (dark - light) * depth + draw.between(-0.04, 0.04, 3)),
        light=np.asarray(draw.one(0.85, 1.15) * (1.0 + draw.between(-0.08, 0.08, 3))),
        focus=draw.one(0.4, 1.5),
        noise=draw.one(0.004, 0.02),
        crease=draw.one(0.02, 0.10),
        hair=draw.one(0.0, 0.6),
    )


def _skin(photo: Photo, draw: Draw) -> Array:
    """Plain skin, (224, 224, 3): mottled, creased, with a few hairs."""
    mottle = 0.05 * _field(draw, 40)[..., None] * np.array([0.6, 1.0, 1.0]) + 0.02 * _field(draw, 9)[..., None]
    image = photo.skin * (1.0 + mottle)
    creases = np.abs(_field(draw, 28)) + 0.35 * np.abs(_field(draw, 12))
    image = image * (1.0 - photo.crease * np.maximum(0.0, 1.0 - 6.0 * creases))[..., None]
    if draw.happens(photo.hair):
        strands = np.abs(_field(draw, 56) + 0.15 * _field(draw, 20))
        image = image * (1.0 - 0.5 * np.maximum(0.0, 1.0 - 45.0 * strands))[..., None]
    return np.asarray(image)


def _field(draw: Draw, step: int) -> Array:
    """Smooth noise over a patch: mean 0, standard deviation about 1, correlated over `step` half pixels."""
    first, weights = _taps(step)
    knots = spline(step).shape[1]
    coarse = draw.between(-1.0, 1.0, (knots, knots))
    down = sum(weights[:, tap, None] * coarse[first + tap] for tap in range(TAPS))
    return np.asarray(3.6 * sum(weights[:, tap] * down[:, first + tap] for tap in range(TAPS)))


@lru_cache(maxsize=32)
def _taps(step: int) -> tuple[np.ndarray, Array]:
    """Of each pixel its first knot, (112,), and the weights of that and the next three, (112, 4): the others are 0.

    A product with the whole matrix would go to BLAS, whose threads slow each other down on a busy host.
    """
    weights = spline(step)[:: CANVAS // SIZE]
    first = np.minimum(np.argmax(weights > 0, axis=1), weights.shape[1] - TAPS)
    return first, np.take_along_axis(weights, first[:, None] + np.arange(TAPS), axis=1)


def _blurred(image: Array, sigma: float) -> Array:
    """Blurred by a Gaussian of `sigma` pixels; what is beyond the edge has no weight."""
    reach = math.ceil(8.0 * sigma)  # beyond, the weights are below what a rounding sees
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    for _ in range(2):  # rows, then columns
        padded = np.pad(image, ((reach, reach), (0, 0), (0, 0)))
        total = sum(weight * padded[at : at + SIZE] for at, weight in enumerate(weights))
        inside = np.convolve(np.ones(SIZE), weights)[reach : reach + SIZE]
        image = np.swapaxes(total / inside[:, None, None], 0, 1)
    return image


def _blob(draw: Draw, rows: Array, columns: Array, low: float, high: float, reach: float, rough: float) -> Array:
    """About the signed distance in pixels to a blob of radius `low` to `high` whose middle lies within `reach`."""
    down, across = draw.between(-reach, reach, 2)
    stretch, angle = draw.one(0.65, 1.5), draw.one(0.0, np.pi)
    u = (columns - across) * np.cos(angle) + (rows - down) * np.sin(angle)
    v = (rows - down) * np.cos(angle) - (columns - across) * np.sin(angle)
    radius = draw.one(low, high)
    waves = rough * (0.6 * _field(draw, 36) + 0.4 * _field(draw, 15))
    return np.asarray(np.sqrt((u / stretch) ** 2 + (v * stretch) ** 2) - radius + waves)


def _inside(distance: Array, softness: float) -> Array:
    """1 inside, 0 outside, with an edge `softness` pixels wide, (224, 224, 1)."""
    return np.clip(0.5 - distance / softness, 0.0, 1.0)[..., None]


def _mix(image: Array, colour: Array, share: Array) -> Array:
    return np.asarray(image + (colour - image) * share)


def _redness(image: Array, draw: Draw, rows: Array, columns: Array) -> Array:
    """Inflamed skin, without a border."""
    share = _inside(_blob(draw, rows, columns, 20.0, 70.0, 80.0, 12.0), 60.0) * draw.one(0.3, 0.8)
    return np.asarray(image * (1.0 - share * np.array([0.02, 0.42, 0.38])))


def _callus(image: Array, draw: Draw, rows: Array, columns: Array) -> Array:
    """Thick, dry, yellowish skin."""
    share = _inside(_blob(draw, rows, columns, 25.0, 60.0, 90.0, 8.0), 30.0) * draw.one(0.3, 0.8)
    flakes = 0.06 * _field(draw, 7)[..., None]
    return _mix(image, np.array([0.83, 0.70, 0.47]) * (1.0 + flakes), share)


def _scab(image: Array, draw: Draw, rows: Array, columns: Array) -> Array:
    """One to three small dry crusts, brown or nearly black: sharp, flat, without a rim."""
    for _ in range(1 + int(draw.one(0.0, 3.0))):
        share = _inside(_blob(draw, rows, columns, 4.0, 13.0, 95.0, 3.0), 4.0) * draw.one(0.6, 0.95)
        image = _mix(image, np.array([0.30, 0.16, 0.11]) * draw.one(0.5, 1.4), share)
    return image


def _bruise(image: Array, draw: Draw, rows: Array, columns: Array) -> Array:
    """Blood under whole skin: dark red to violet, with a wide soft border; the creases stay."""
    share = _inside(_blob(draw, rows, columns, 14.0, 45.0, 80.0, 6.0), 34.0) * draw.one(0.35, 0.8)
    return np.asarray(image * (1.0 - share * np.array([0.35, 0.70, 0.55])))


def _birthmark(image: Array, draw: Draw, rows: Array, columns: Array) -> Array:
    """Red or brown skin with a clear, ragged border; it is flat, and the creases go through it."""
    share = _inside(_blob(draw, rows, columns, 10.0, 50.0, 40.0, 9.0), draw.one(3.0, 14.0)) * draw.one(0.4, 0.9)
    dye = np.array([0.25, 0.70, 0.62]) if draw.happens(0.6) else np.array([0.45, 0.58, 0.62])
    return np.asarray(image * (1.0 - share * dye))


def _healed(image: Array, draw: Draw, rows: Array, columns: Array) -> Array:
    """A closed wound: smooth pink or pale skin, with a faint rim."""
    distance = _blob(draw, rows, columns, 14.0, 50.0, 30.0, 6.0)
    pink = np.array([0.84, 0.52, 0.47]) * draw.one(0.7, 1.05) * (1.0 + 0.05 * _field(draw, 14)[..., None])
    image = _mix(image, pink, _inside(distance, draw.one(6.0, 16.0)) * draw.one(0.4, 0.9))
    rim = np.exp(-((distance - 2.0) ** 2) / 16.0)[..., None] * draw.one(0.0, 0.4)
    return _mix(image, np.array([0.86, 0.74, 0.62]) * 0.95, rim)


def _crust(image: Array, draw: Draw, rows: Array, columns: Array) -> Array:
    """A large dry crust, brown to black, on skin that may be inflamed around it."""
    distance = _blob(draw, rows, columns, 12.0, 34.0, 40.0, 5.0)
    around = np.clip(1.0 - np.maximum(distance, 0.0) / 20.0, 0.0, 1.0)[..., None] * draw.one(0.0, 0.4)
    image = np.asarray(image * (1.0 - around * np.array([0.05, 0.40, 0.36])))
    crust = np.array([0.30, 0.17, 0.12]) * draw.one(0.4, 1.5) * (1.0 + 0.2 * _field(draw, 9)[..., None])
    return _mix(image, crust, _inside(distance, 4.0) * draw.one(0.7, 1.0))


def _ulcer(image: Array, draw: Draw, rows: Array, columns: Array) -> Array:
    """A wound: inflamed around, a pale or callous rim, a wet bed of granulation, slough and necrosis."""
    distance = _blob(draw, rows, columns, 10.0, 58.0, 30.0, draw.one(3.0, 9.0))
    around = np.clip(1.0 - np.maximum(distance, 0.0) / draw.one(8.0, 40.0), 0.0, 1.0)[..., None] * draw.one(0.1, 0.5)
    image = np.asarray(image * (1.0 - around * np.array([0.05, 0.40, 0.36])))
    rim = np.exp(-((distance - 3.0) ** 2) / draw.one(10.0, 40.0))[..., None] * draw.one(0.15, 0.6)
    image = _mix(image, np.array([0.86, 0.74, 0.62]) * draw.one(0.75, 1.05), rim)
    bed = np.array([0.60, 0.17, 0.15]) * draw.one(0.6, 1.15) * (1.0 + 0.16 * _field(draw, 8)[..., None])
    slough = np.clip(_field(draw, 26) - draw.one(-0.6, 1.4), 0.0, 1.0)[..., None]
    bed = _mix(bed, np.array([0.80, 0.68, 0.38]) * (1.0 + 0.08 * _field(draw, 10)[..., None]), slough)
    necrosis = np.clip(1.6 * (_field(draw, 32) - draw.one(0.4, 2.2)), 0.0, 1.0)[..., None]
    bed = _mix(bed, np.array([0.15, 0.11, 0.09]), necrosis)
    depth = np.clip(-distance / 22.0, 0.0, 1.0)[..., None]
    bed = bed * (1.0 - 0.25 * depth)
    wet = np.maximum(0.0, _field(draw, 11) - 1.7)[..., None] * draw.one(0.0, 0.5)
    return _mix(image, np.minimum(bed + wet, 1.0), _inside(distance, draw.one(3.0, 16.0)) * draw.one(0.4, 1.0))


def _cloth(image: Array, draw: Draw, rows: Array, columns: Array) -> Array:
    """A sheet, a glove or a dressing that covers an edge, with its shadow; some are red, blue or green."""
    angle, place = draw.one(0.0, 2 * np.pi), draw.one(58.0, 105.0)
    distance = place - (columns * np.cos(angle) + rows * np.sin(angle)) + 5.0 * _field(draw, 60)
    shade = np.clip(1.0 - np.maximum(distance, 0.0) / 26.0, 0.0, 1.0)[..., None]
    weave = 1.0 + 0.05 * _field(draw, 4)[..., None]
    colours = np.array([[0.88, 0.88, 0.86], [0.25, 0.42, 0.62], [0.62, 0.20, 0.18], [0.30, 0.50, 0.42]])
    colour = colours[int(draw.one(0.0, 4.0))]
    return _mix(np.asarray(image * (1.0 - 0.45 * shade)), colour * weave, _inside(distance, 4.0))


def _photographed(image: Array, photo: Photo, draw: Draw, rows: Array, columns: Array) -> np.ndarray:
    """Light from a side, focus, sensor: uint8 (112, 112, 3)."""
    slope = draw.between(-0.0022, 0.0022, 2)
    image = image * photo.light * (1.0 + slope[0] * rows + slope[1] * columns + 0.06 * _field(draw, 90))[..., None]
    image = _blurred(image, photo.focus)
    grain = (draw.between(0.0, 1.0, image.shape) + draw.between(0.0, 1.0, image.shape) - 1.0) * 2.4
    image = np.maximum(image + photo.noise * grain, 0.0) ** (1 / 1.1)
    return np.asarray(np.floor(255.0 * np.minimum(image, 1.0) + 0.5), np.uint8)
