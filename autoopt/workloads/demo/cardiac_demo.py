"""The embedded demo data of the cardiac workload: synthetic hearts in a synthetic chest, the same on every machine.

Each invented patient has a stack of short-axis slices at the end of filling (ED) and at the end of squeezing (ES).
A slice is drawn from signed distances to the parts of the chest, painted one over the other with soft edges, as a
mean over the thickness of the slice; then come coil, focus and Rician noise. All lengths are pixels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from autoopt.workloads.demo.canvas import Array, Draw
from autoopt.workloads.demo.folders import write_demo

GENERATOR = "cardiac-demo"
VERSION = 1
SEED = 3
"""The first part of every seed here; other demo data have others."""
SLICES = 6
SIZES = ((112, 128), (128, 112), (128, 128), (144, 112), (128, 144), (144, 128))
KINDS = ("healthy", "dilated", "thick", "infarct", "right")
PATIENT_SPLITS = (("train", 10), ("val", 3), ("test", 3))
RV, MYOCARDIUM, LV = 1, 2, 3
FAR = 99.0
BLUR_REACH = 3

Phase = Literal["ED", "ES"]
PHASES: tuple[Phase, ...] = ("ED", "ES")


@dataclass(frozen=True)
class Patient:
    """What the slices of one patient have in common.

    `radius` and `wall` are those of the left ventricle at its base in ED, `squeeze` is what is left of its radius
    in ES. `lie` turns the whole chest in the image, `towards_rv` is the angle from the left to the right ventricle.
    `base` and `apex` are the depths of the outermost slices: 0 is where the ventricles begin, 1 where the cavity of
    the left one ends. `top` is what the first slice shows beside the left ventricle. `chest` is its centre and its
    half axes as shares of half the image; `coil` is how its reach changes, linearly and squared.
    """

    index: int
    split: str
    kind: str
    size: tuple[int, int]
    centre: Array
    lie: float
    towards_rv: float
    radius: float
    wall: float
    squeeze: float
    right: float
    base: float
    apex: float
    top: Literal["ventricles", "vessels", "atria"]
    scar: float
    blood: float
    muscle: float
    liver: float
    fat: float
    layer: float
    chest: Array
    coil: Array
    noise: float

    @property
    def name(self) -> str:
        """The patient in the manifest."""
        return f"P{self.index:02d}"


@dataclass(frozen=True)
class Plane:
    """Coordinates of one slice's pixels about the heart, and the smooth noises that shape and texture it."""

    x: Array
    y: Array
    edge: Array
    texture: Array
    grain: Array

    def disc(self, x: float, y: float, radius: float, flat: float = 1.0) -> Array:
        """About the signed distance to a disc, negative inside; `flat` divides its height."""
        return np.asarray(np.sqrt((self.x - x) ** 2 + ((self.y - y) * flat) ** 2) - radius)


@dataclass(frozen=True)
class Heart:
    """Signed distances, negative inside: cavity and outer wall of the left ventricle, right ventricle, its wall."""

    cavity: Array
    outer: Array
    right: Array
    right_wall: Array
    radius: float

    def labels(self, rough: Array) -> np.ndarray:
        """What an annotator draws: papillary muscles count as cavity, the thin wall on the right as background."""
        marks = np.zeros(self.outer.shape, np.uint8)
        marks[self.right + rough < 0] = RV
        marks[self.outer + rough < 0] = MYOCARDIUM
        marks[self.cavity + rough < 0] = LV
        return marks


def patients() -> list[Patient]:
    """All patients, in the order of their names."""
    splits = [split for split, count in PATIENT_SPLITS for _ in range(count)]
    return [_patient(index, split) for index, split in enumerate(splits)]


def stacks() -> Iterator[tuple[str, Patient, Phase, np.ndarray, np.ndarray]]:
    """Name, patient, phase, image float32 (slices, h, w) in 0..1 and label uint8 of every stack, sorted by name."""
    for patient in patients():
        slices = [_slice(patient, index) for index in range(SLICES)]
        for number, phase in enumerate(PHASES):
            # In steps of 1/255, so that machines whose cosines differ in the last bits make the same image.
            image = np.stack([drawn[number][0] for drawn in slices]).astype(np.float32) / np.float32(255)
            yield f"{patient.name}-{phase}", patient, phase, image, np.stack([drawn[number][1] for drawn in slices])


def write(folder: Path) -> None:
    """Fill `folder` with NAME.npz, manifest.csv and demo.json; return at once when it is already there.

    The folder appears in one step, complete. Raises StorageError where it cannot be written.
    """
    write_demo(folder, GENERATOR, VERSION, _fill)


def _fill(folder: Path) -> str:
    digest = hashlib.sha256()
    lines = ["name,patient,split,phase,kind"]
    for name, patient, phase, image, label in stacks():
        digest.update(name.encode() + str(image.shape).encode() + image.tobytes() + label.tobytes())
        np.savez_compressed(folder / f"{name}.npz", image=image, label=label)
        lines.append(f"{name},{patient.name},{patient.split},{phase},{patient.kind}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return digest.hexdigest()


def _patient(index: int, split: str) -> Patient:
    draw = Draw(SEED, 1, index)
    kind = KINDS[(index * 2) % len(KINDS)]
    size = SIZES[(index * 5) % len(SIZES)]
    small = 0.8 + 0.2 * (min(size) - 112) / 16
    radius = small * draw.one(16.0, 20.0) * {"dilated": 1.3, "thick": 0.85}.get(kind, 1.0)
    wall = small * draw.one(6.0, 8.0) * {"thick": 1.6, "dilated": 0.9}.get(kind, 1.0)
    squeeze = {"dilated": draw.one(0.82, 0.92), "infarct": draw.one(0.75, 0.88)}.get(kind, draw.one(0.55, 0.72))
    top = draw.one(0.0, 1.0)
    return Patient(
        index=index,
        split=split,
        kind=kind,
        size=size,
        centre=np.array(size) * (0.5 + draw.between(-0.13, 0.13, 2)),
        lie=draw.one(-0.4, 0.4) + (math.pi / 2 if index % 3 == 2 else 0.0),
        towards_rv=math.pi + draw.one(-0.9, 0.9),
        radius=radius,
        wall=wall,
        squeeze=squeeze,
        right=draw.one(0.85, 1.1) * (1.3 if kind == "right" else 1.0),
        base=draw.one(0.0, 0.12),
        apex=draw.one(0.86, 1.2),
        top="atria" if top < 0.25 else "vessels" if top < 0.6 else "ventricles",
        scar=draw.one(-math.pi, math.pi),
        blood=draw.one(0.55, 0.9),
        muscle=draw.one(0.2, 0.34),
        liver=draw.one(0.22, 0.4),
        fat=draw.one(0.7, 1.1),
        layer=draw.one(4.0, 14.0),
        chest=np.array([draw.one(-14.0, 2.0), draw.one(-8.0, 8.0), draw.one(1.0, 1.4), draw.one(0.95, 1.25)]),
        coil=draw.between(-0.35, 0.35, 4),
        noise=draw.one(0.02, 0.05),
    )


def _slice(patient: Patient, index: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """One slice in each phase: image uint8 and label uint8, both of the patient's size."""
    plane = _plane(patient, index)
    chest = _chest(patient, plane, Draw(SEED, 3, patient.index, index))
    top = patient.top if index == 0 else "ventricles"
    drawn = []
    for number, phase in enumerate(PHASES):
        depth = patient.base + (patient.apex - patient.base) * index / (SLICES - 1)
        depth += 0.07 * number  # squeezing pulls the base towards the apex, the slices stay
        # A slice is thick: it shows the mean over a part of the depth.
        hearts = [_heart(patient, plane, phase, depth + side) for side in (-0.03, 0.03)]
        painted = [_with_heart(chest, patient, plane, phase, heart, depth, top) for heart in hearts]
        image = _scanned(patient, np.mean(painted, axis=0), Draw(SEED, 4, patient.index, index, number))
        marks = _heart(patient, plane, phase, depth).labels(0.5 * plane.edge)
        if top == "atria":
            marks[:] = 0
        elif top == "vessels":
            marks[marks == RV] = 0
        drawn.append((image, marks))
    return drawn


def _plane(patient: Patient, index: int) -> Plane:
    draw = Draw(SEED, 2, patient.index, index)
    height, width = patient.size
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    warp = [1.6 * _field(draw, 24, patient.size) for _ in range(2)]
    drift = draw.between(-2.5, 2.5, 2)  # every slice is its own breath-hold
    edge, texture, grain = (_field(draw, step, patient.size) for step in (9, 14, 3))
    down, right = rows - patient.centre[0] + drift[0], columns - patient.centre[1] + drift[1]
    cosine, sine = math.cos(patient.lie), math.sin(patient.lie)
    x, y = cosine * right + sine * down + warp[0], cosine * down - sine * right + warp[1]
    return Plane(x, y, edge, texture, grain)


def _heart(patient: Patient, plane: Plane, phase: Phase, depth: float) -> Heart:
    squeezed = phase == "ES"
    away = np.sqrt(plane.x**2 + plane.y**2) + 1e-6
    cosine, sine = plane.x / away, plane.y / away
    oval = 1.0 + 0.05 * (cosine**2 - sine**2)
    outer_radius = (patient.radius + patient.wall) * _taper(depth, 1.15) * (0.93 if squeezed else 1.0)
    radius = patient.radius * _taper(depth, 1.02) * (patient.squeeze if squeezed else 1.0)
    if patient.kind == "infarct":  # the scar is thin and does not move
        near = np.clip(cosine * math.cos(patient.scar) + sine * math.sin(patient.scar), 0.0, 1.0) ** 2
        reach: Array | float = radius + 0.55 * near * max(outer_radius - radius, 0.0)
    else:
        reach = radius
    outer = (
        away - outer_radius * oval if outer_radius > 2.5 else np.full(away.shape, FAR)
    )  # an annotator marks nothing smaller
    cavity = np.maximum(away - reach * oval, outer + 1.5)
    # In the direction of the right ventricle, and across it.
    ahead = plane.x * math.cos(patient.towards_rv) + plane.y * math.sin(patient.towards_rv)
    across = plane.y * math.cos(patient.towards_rv) - plane.x * math.sin(patient.towards_rv)
    whole = (patient.radius + patient.wall) * min(patient.right, 1.25) * (0.88 if squeezed else 1.0)
    long, wide = 1.05 * whole * _taper(depth, 0.98), 0.95 * whole * _taper(depth, 0.9)
    begin = 0.62 * (patient.radius + patient.wall) * _taper(depth, 1.15)
    blunt = across * (1.0 + 0.25 * np.tanh(across / 12.0))  # rounder on one side
    if min(long, wide) < 3.0:  # it ends here
        right = np.full(away.shape, FAR)
    else:
        right = _ellipse((ahead - begin) / wide, blunt / long, min(wide, long))
    return Heart(cavity, outer, right, right - 2.5, radius)


def _chest(patient: Patient, plane: Plane, draw: Draw) -> Array:
    """Everything but the heart: air, skin fat, muscle, lungs with vessels, liver, stomach, aorta."""
    half = 0.5 * min(patient.size)
    x, y, wide, high = patient.chest
    body = _ellipse((plane.x - x) / (wide * half), (plane.y - y) / (high * half), half) + 1.2 * plane.texture
    inside = body + patient.layer + 7.0
    image = np.full(plane.x.shape, 0.01)
    image = _paint(image, body, patient.fat * (1.0 + 0.05 * plane.texture))
    image = _paint(image, body + patient.layer, patient.muscle * (0.95 + 0.15 * plane.grain))
    image = _paint(image, inside, 0.05 + 0.01 * plane.texture)
    image = _paint(image, np.maximum(inside, 1.9 - plane.grain), 0.45)  # vessels of the lung
    middle = plane.x + draw.one(20.0, 30.0) + 4.0 * plane.texture
    image = _paint(image, np.maximum(inside, middle), patient.muscle * (1.0 + 0.3 * plane.texture))
    image = _paint(image, np.maximum(np.maximum(inside, middle), 0.9 - plane.texture), patient.fat * 0.9)
    dome = draw.one(24.0, 34.0) + 0.15 * plane.x - plane.y + 3.0 * plane.texture
    image = _paint(image, np.maximum(inside, dome), patient.liver * (1.0 + 0.08 * plane.grain))
    image = _paint(image, np.maximum(np.maximum(inside, dome + 2.0), 1.7 - plane.grain), 0.75 * patient.blood)
    gut = plane.disc(draw.one(20.0, 40.0), draw.one(40.0, 52.0), draw.one(8.0, 15.0), draw.one(0.9, 1.6))
    image = _paint(image, np.maximum(inside, gut + plane.edge), 0.15)
    image = _paint(image, np.maximum(inside, gut + plane.edge + 3.0), draw.one(0.3, 0.9) * (1.0 + 0.1 * plane.texture))
    aorta = plane.disc(draw.one(-4.0, 16.0), draw.one(36.0, 46.0), draw.one(6.0, 8.5))
    image = _paint(image, aorta - 2.0, 0.18)
    return _paint(image, aorta, patient.blood * (1.0 + 0.05 * plane.texture))


def _with_heart(
    chest: Array, patient: Patient, plane: Plane, phase: Phase, heart: Heart, depth: float, top: str
) -> Array:
    muscle = patient.muscle * (1.0 + 0.06 * plane.grain)
    blood = patient.blood * (1.0 + 0.07 * plane.texture + 0.03 * plane.grain)
    around = np.minimum(heart.outer, heart.right_wall)
    image = _paint(chest, np.maximum(around - 4.0, 0.2 - plane.texture), patient.fat * 0.95)
    image = _paint(image, around - 1.0, 0.12)  # the pericardium
    if top != "ventricles":
        return _with_vessels(image, patient, plane, heart, top, blood, muscle)
    image = _paint(image, heart.right_wall, muscle)
    trabeculae = np.maximum(heart.right + 1.0, 1.1 - plane.grain)
    image = _paint(image, heart.right, 0.95 * blood)
    image = _paint(image, trabeculae, 0.7 * blood)
    return _with_left(image, patient, plane, phase, heart, depth, blood, muscle)


def _with_left(
    image: Array, patient: Patient, plane: Plane, phase: Phase, heart: Heart, depth: float, blood: Array, muscle: Array
) -> Array:
    """The left ventricle: its wall, its cavity with rough edges, the two papillary muscles in it."""
    image = _paint(image, heart.outer, muscle)
    flow = 0.9 if phase == "ES" else 1.0
    image = _paint(image, heart.cavity + 0.8 * np.maximum(plane.grain, 0.0), flow * blood)
    if 0.2 < depth < 0.85:
        share = 0.17 if phase == "ED" else 0.24
        for turn in (2.2, -2.3):
            angle = patient.towards_rv + turn
            x, y = 0.7 * heart.radius * math.cos(angle), 0.7 * heart.radius * math.sin(angle)
            muscles = plane.disc(x, y, share * heart.radius) + 0.5 * plane.edge
            image = _paint(image, np.maximum(muscles, heart.cavity), muscle)
    return image


def _with_vessels(
    image: Array, patient: Patient, plane: Plane, heart: Heart, top: str, blood: Array, muscle: Array
) -> Array:
    """Above the ventricles: round thin-walled atria and great vessels, as bright as the cavities but not labelled."""
    size = patient.radius + patient.wall
    if top == "vessels":
        image = _with_left(image, patient, plane, "ED", heart, 0.0, blood, muscle)
        places = [(1.45, 0.45, 0.42), (1.4, -0.45, 0.36)]
        beside = 1.0 - heart.outer
    else:
        places = [(0.1, 0.25, 0.55), (0.75, -0.35, 0.4), (1.45, 0.2, 0.5)]
        beside = np.full(heart.outer.shape, -FAR)
    for away, turn, radius in places:
        angle = patient.towards_rv + turn
        vessel = plane.disc(away * size * math.cos(angle), away * size * math.sin(angle), radius * size) + plane.edge
        image = _paint(image, np.maximum(vessel - 1.5, beside), 0.15)
        image = _paint(image, np.maximum(vessel, beside), 0.95 * blood)
    return image


def _scanned(patient: Patient, image: Array, draw: Draw) -> np.ndarray:
    """From tissue to uint8 pixels: the coil's reach, focus, Rician noise, a window that saturates the brightest."""
    height, width = patient.size
    rows, columns = np.mgrid[0:height, 0:width] / np.array([height, width])[:, np.newaxis, np.newaxis] - 0.5
    coil = sum(share * way for share, way in zip(patient.coil, (rows, columns, rows**2, columns**2), strict=True))
    seen = _blurred(image * np.exp(2.0 * coil), draw.one(0.55, 0.85))
    real, imaginary = (_normal(draw, image.shape) * patient.noise for _ in range(2))
    magnitude = np.sqrt((seen + real) ** 2 + imaginary**2)
    return np.clip(np.rint(magnitude * 215.0), 0.0, 255.0).astype(np.uint8)


def _paint(image: Array, distance: Array, value: Array | float) -> Array:
    """`value` where `distance` is negative; over one pixel at the edge a mixture."""
    share = np.clip(0.5 - distance, 0.0, 1.0)
    return np.asarray(image + share * (value - image))


def _ellipse(x: Array, y: Array, radius: float) -> Array:
    """About the signed distance to an ellipse whose half axes x and y were divided by."""
    return np.asarray((np.sqrt(x**2 + y**2) - 1.0) * radius)


def _taper(depth: float, end: float) -> float:
    """How wide a ventricle is at this depth, as a share of its base: half an ellipse that ends at `end`."""
    return math.sqrt(max(0.0, 1.0 - (max(depth, 0.0) / end) ** 2))


def _field(draw: Draw, step: int, shape: tuple[int, int]) -> Array:
    """Smooth noise: mean 0, standard deviation about 1, correlated over `step` pixels; cubic B-splines."""
    down, across = (_spline(size, step) for size in shape)
    coarse = draw.between(-1.0, 1.0, (down.shape[1], across.shape[1]))
    # einsum, not @: on a busy machine the threads of a matrix product cost more than so small a product itself.
    return np.asarray(3.6 * np.einsum("hk,kw->hw", np.einsum("hj,jk->hk", down, coarse), across.T.copy()))


@cache
def _spline(size: int, step: int) -> Array:
    """Weights (size, knots) of knots `step` pixels apart."""
    away = np.abs(np.arange(size)[:, np.newaxis] / step - np.arange(-1, size // step + 3))
    near, far = 2.0 / 3.0 - away**2 + away**3 / 2.0, np.maximum(2.0 - away, 0.0) ** 3 / 6.0
    return np.where(away < 1.0, near, far)


def _normal(draw: Draw, shape: tuple[int, ...]) -> Array:
    """About normal numbers, as sums of four uniform ones: no method of the library that may change."""
    return np.asarray(math.sqrt(3.0) * (draw.between(0.0, 1.0, (4, *shape)).sum(axis=0) - 2.0))


def _blurred(image: Array, sigma: float) -> Array:
    """Blurred by a Gaussian of less than one pixel; the edge is repeated."""
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-BLUR_REACH, BLUR_REACH + 1)]
    for axis, size in enumerate(image.shape):
        wide = np.take(image, np.clip(np.arange(-BLUR_REACH, size + BLUR_REACH), 0, size - 1), axis)
        parts = [weight * np.take(wide, range(tap, tap + size), axis) for tap, weight in enumerate(weights)]
        image = np.sum(parts, axis=0) / sum(weights)
    return image
