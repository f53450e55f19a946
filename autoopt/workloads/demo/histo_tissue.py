"""How one synthetic H&E tile is drawn; `histo_demo` says for which patients.

A tile is drawn in five moves: bodies are placed (glands, and look-alikes that are none), every pixel gets
its distance to the nearest body, tissue densities of hematoxylin and eosin follow from that, nuclei are
stamped on, and the stained, lit, blurred and noisy picture is what the camera would see. The mask
follows the true outline up to a few pixels, as an annotator would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from autoopt.workloads.demo.canvas import SIZE, Array, Draw, blur, jittered, stamp, steepest

STROMA, GLAND, VESSEL, FOLLICLE, NERVE, MUCIN, FAT = range(7)
FAR = 1e3
WAVES = np.array([0.14, 0.14, 0.10, 0.10, 0.06, 0.06])
"""Largest waves of a body's outline, as shares of its radius: two-, three- and fivefold, real and imaginary."""


class Lining(NamedTuple):
    """Nuclei of a gland's lining: how densely, how deep (share of the wall), half axes in pixels, which way."""

    chance: float
    deepest: float
    length: float
    width: float
    density: float
    turned: bool


LININGS = (
    Lining(0.95, 0.36, 4.2, 2.4, 0.95, False),
    Lining(0.80, 0.70, 5.0, 2.4, 0.90, False),
    Lining(0.60, 1.00, 4.4, 3.3, 0.78, True),
)
"""By grade: in a row at the base, piled up, anywhere and every way."""


@dataclass(frozen=True)
class Patient:
    """What the tiles of one patient have in common. Lengths are pixels; stain is (2, 3) optical density per dye."""

    index: int
    split: str
    tiles: int
    grade: int
    stain: Array
    light: Array
    radius: float
    wall: float
    gap: float
    warp: float
    goblet: float
    nucleus: float
    cells: float
    mimics: float

    @property
    def name(self) -> str:
        """The case name in the manifest."""
        return f"P{self.index:02d}"


@dataclass(frozen=True)
class Body:
    """A closed outline: an ellipse with waves. `wall` is the depth of its lining, `solid` says that it has no lumen."""

    kind: int
    x: float
    y: float
    radius: float
    stretch: float
    angle: float
    waves: tuple[complex, complex, complex]
    wall: float
    solid: bool

    def distance(self, x: Array, y: Array) -> Array:
        """About the signed distance in pixels to the outline, negative inside."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        u = ((x - self.x) * cosine + (y - self.y) * sine) / self.stretch
        v = ((y - self.y) * cosine - (x - self.x) * sine) * self.stretch
        length = np.sqrt(u * u + v * v) + 1e-6
        c, s = u / length, v / length
        c2, s2 = c * c - s * s, 2.0 * c * s
        c3, s3 = c * c2 - s * s2, s * c2 + c * s2
        c5, s5 = c2 * c3 - s2 * s3, s2 * c3 + c2 * s3
        two, three, five = self.waves
        wave = two.real * c2 - two.imag * s2 + three.real * c3 - three.imag * s3 + five.real * c5 - five.imag * s5
        return np.asarray(length - self.radius * (1.0 + wave))


@dataclass(frozen=True)
class Anatomy:
    """Per pixel: kind of the nearest body, distance to its outline (negative inside), depth as a share of its wall."""

    kind: np.ndarray[Any, np.dtype[np.int64]]
    distance: Array
    share: Array


def draw_tile(patient: Patient, index: int) -> tuple[np.ndarray, np.ndarray]:
    """One tile: image uint8 (224, 224, 3) and mask uint8 (224, 224), 255 where there is gland."""
    draw = Draw(2, patient.index, index)
    bodies = _place(draw, patient)
    anatomy = _anatomy(draw, patient, bodies)
    fibre = draw.one(0.0, np.pi) + 0.5 * draw.field(56)
    hematoxylin, eosin = _tissue(draw, patient, anatomy, fibre)
    hematoxylin = np.maximum(hematoxylin, _nuclei(draw, patient, anatomy, fibre))
    image = _camera(draw, patient, hematoxylin, eosin)
    rough = 1.3 * draw.field(7) + 1.1 * draw.field(24)
    mask = (anatomy.kind == GLAND) & (anatomy.distance < rough)
    return image, np.where(mask, np.uint8(255), np.uint8(0))


def _place(draw: Draw, patient: Patient) -> list[Body]:
    """Bodies that may press on each other a little; the first is a gland well inside the tile."""
    bodies: list[Body] = []
    for attempt in range(160):
        mimic = bool(bodies) and draw.happens(patient.mimics)
        kind = int(draw.one(VESSEL, FAT + 1)) if mimic else GLAND
        radius = patient.radius * (draw.one(0.35, 0.9) if mimic else draw.one(0.6, 1.25))
        margin = 70.0 if attempt == 0 else -25.0
        x, y = draw.one(margin, SIZE - margin), draw.one(margin, SIZE - margin)
        waves = draw.between(-1.0, 1.0, 6) * WAVES * (0.5 + 0.5 * patient.grade)
        stretch, angle, wall = draw.one(1.0, 1.3 + 0.15 * patient.grade), draw.one(0.0, np.pi), draw.one(0.85, 1.2)
        solid = draw.happens(0.12 + 0.16 * patient.grade)
        if all((x - o.x) ** 2 + (y - o.y) ** 2 > (0.88 * (radius + o.radius)) ** 2 for o in bodies):
            pairs = (complex(waves[0], waves[1]), complex(waves[2], waves[3]), complex(waves[4], waves[5]))
            lining = wall * (patient.wall if kind == GLAND else 5.0)
            bodies.append(Body(kind, x, y, radius, stretch, angle, pairs, lining, solid))
    return bodies


def _anatomy(draw: Draw, patient: Patient, bodies: list[Body]) -> Anatomy:
    rows, columns = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    x = columns + patient.warp * draw.field(18)
    y = rows + patient.warp * draw.field(18)
    first, second = np.full((SIZE, SIZE), FAR), np.full((SIZE, SIZE), FAR)
    owner = np.full((SIZE, SIZE), len(bodies))
    for number, body in enumerate(bodies):
        reach = 1.35 * body.stretch * body.radius + 15.0  # beyond it the pixel is outside, whatever the waves do
        top, bottom = int(max(0.0, body.y - reach)), int(max(0.0, min(SIZE, body.y + reach)))
        left, right = int(max(0.0, body.x - reach)), int(max(0.0, min(SIZE, body.x + reach)))
        window = (slice(top, bottom), slice(left, right))
        distance = body.distance(x[window], y[window])
        nearest, next_nearest = first[window], second[window]
        closer = distance < nearest
        np.copyto(owner[window], number, where=closer)
        np.minimum(next_nearest, np.maximum(nearest, distance), out=next_nearest)
        np.minimum(nearest, distance, out=nearest)
    # neighbours flatten each other and leave a strand of stroma between them
    distance = np.maximum(first, (first - second) / 2.0 + max(patient.gap, 0.8))
    kinds = np.array([body.kind for body in bodies] + [STROMA])
    walls = np.array([1.7 * body.radius if body.solid else body.wall for body in bodies] + [1.0])
    linings = walls[owner] * (1.0 + 0.12 * draw.field(12))
    return Anatomy(kinds[owner], distance, -distance / np.maximum(linings, 3.0))


def _tissue(draw: Draw, patient: Patient, anatomy: Anatomy, fibre: Array) -> tuple[Array, Array]:
    """Hematoxylin and eosin of everything but nuclei."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    grain, cloud = draw.field(3), draw.field(20)
    strand = np.sin((columns * np.cos(fibre) + rows * np.sin(fibre)) * 0.8 + 2.0 * draw.field(11))
    inside, kind, share = anatomy.distance < 0.0, anatomy.kind, anatomy.share
    hematoxylin = 0.10 + 0.03 * cloud
    eosin = 0.55 + 0.16 * strand + 0.10 * cloud
    slits = ~inside & (cloud + 0.5 * grain > 1.9)
    lumen = inside & (share > 1.0)
    holes = inside & (kind == GLAND) & (share > 0.3) & (draw.field(15) > 2.2 - 0.4 * patient.grade)
    layers = (
        (inside & (kind == GLAND), 0.34 + 0.05 * cloud, 0.50 + 0.05 * cloud),
        (inside & (kind == VESSEL), 0.12, 0.80 + 0.08 * strand),
        (lumen & (kind == VESSEL), 0.05, 0.75 + 0.30 * np.sign(cloud) * (grain > 0.0)),
        (inside & (kind == FOLLICLE), 0.25, 0.35),
        (inside & (kind == NERVE), 0.14, 0.72 + 0.14 * strand),
        (inside & (kind == MUCIN), 0.20 + 0.05 * cloud, 0.12),
        (inside & (kind == FAT) & (anatomy.distance < -2.0), 0.0, 0.02),
        ((lumen & (kind == GLAND)) | holes, 0.04 + 0.05 * (grain > 1.2), 0.06 + 0.25 * (cloud > 1.0)),
        (slits, 0.0, 0.03),
    )
    for where, blue, pink in layers:
        np.copyto(hematoxylin, blue, where=where)
        np.copyto(eosin, pink, where=where)
    vacuole = _vacuoles(draw, patient, anatomy)
    hematoxylin = hematoxylin * (1.0 - 0.6 * vacuole) + 0.03 * grain
    return hematoxylin, np.maximum(eosin * (1.0 - 0.85 * vacuole) + 0.05 * grain, 0.0)


def _vacuoles(draw: Draw, patient: Patient, anatomy: Anatomy) -> Array:
    """Where goblet cells hold their mucin: pale ellipses in the inner part of a lining, 0..1."""
    rows, columns = jittered(draw, 8)
    share = anatomy.share[rows, columns]
    keep = (anatomy.kind[rows, columns] == GLAND) & (share > 0.35) & (share < 0.95)
    keep &= draw.between(0.0, 1.0, rows.size) < patient.goblet
    rows, columns = rows[keep], columns[keep]
    ones = np.ones(rows.size)
    return stamp(rows, columns, 5.5 * ones, 3.4 * ones, steepest(anatomy.distance, rows, columns), ones)


def _nuclei(draw: Draw, patient: Patient, anatomy: Anatomy, fibre: Array) -> Array:
    """The hematoxylin of all nuclei: where they sit, how long, how wide and which way depends on the tissue."""
    rows, columns = jittered(draw, 5)
    kind = np.where(anatomy.distance < 0.0, anatomy.kind, STROMA)[rows, columns]
    share, normal = anatomy.share[rows, columns], steepest(anatomy.distance, rows, columns)
    along = fibre[rows, columns] + np.pi / 2.0
    count = rows.size
    chance, turn = draw.between(0.0, 1.0, count), draw.between(0.0, np.pi, count)
    nucleus = LININGS[patient.grade]
    basal = np.where((share > 0.06) & (share < nucleus.deepest), nucleus.chance, 0.04 * (share < 1.0))
    slender = draw.between(0.0, 1.0, count) < 0.55
    crowd = patient.cells * (1.0 + 0.8 * np.clip(draw.field(30)[rows, columns], -1.0, 2.5))
    edge = share < 1.0
    tables = {  # chance, half length, half width, density, direction
        STROMA: (crowd, np.where(slender, 5.0, 2.6), np.where(slender, 1.4, 2.4), 0.95, along),
        GLAND: (basal, nucleus.length, nucleus.width, nucleus.density, turn if nucleus.turned else normal),
        VESSEL: (0.5 * edge, 4.6, 1.5, 0.9, normal + np.pi / 2.0),
        FOLLICLE: (0.85, 2.6, 2.4, 0.95, turn),
        NERVE: (0.38, 4.8, 1.7, 0.85, along),
        MUCIN: (0.03, 3.0, 2.6, 0.9, turn),
        FAT: (0.02 * edge, 4.0, 1.3, 0.9, normal + np.pi / 2.0),
    }
    values = np.zeros((5, count))
    for number, table in tables.items():
        for row, value in enumerate(table):
            values[row] = np.where(kind == number, value, values[row])
    keep = chance < values[0]
    size = (patient.nucleus * draw.between(0.85, 1.2, count))[keep]
    density = values[3][keep] * draw.between(0.75, 1.1, count)[keep]
    direction = (values[4] + draw.between(-0.35, 0.35, count))[keep]
    stamped = stamp(rows[keep], columns[keep], values[1][keep] * size, values[2][keep] * size, direction, density)
    return stamped * (1.0 + 0.12 * draw.field(2))


def _camera(draw: Draw, patient: Patient, hematoxylin: Array, eosin: Array) -> np.ndarray:
    """From densities to 8-bit RGB: section thickness, folds, dyes, focus, light and sensor noise."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64) / SIZE - 0.5
    thickness = 1.0 + 0.10 * draw.field(75)
    if draw.happens(0.12):
        angle, offset, width = draw.one(0.0, np.pi), draw.one(-0.4, 0.4), draw.one(0.02, 0.06)
        across = columns * np.cos(angle) + rows * np.sin(angle) - offset + 0.02 * draw.field(40)
        thickness = thickness + np.exp(-((across / width) ** 2))
    stain = patient.stain * draw.between(0.9, 1.1, (2, 1))
    lit = 252.0 * (1.0 + draw.one(-0.1, 0.1) * columns + draw.one(-0.1, 0.1) * rows)
    focus = blur(draw.one(0.45, 0.75) if draw.happens(0.75) else draw.one(0.75, 1.7))
    noise = draw.one(3.0, 9.0)
    picture = np.empty((SIZE, SIZE, 3), dtype=np.uint8)
    for channel in range(3):
        density = (hematoxylin * stain[0, channel] + eosin * stain[1, channel]) * thickness
        seen = focus @ (np.exp(-density) * lit * patient.light[channel]) @ focus.T
        seen += draw.between(-noise, noise, seen.shape)
        picture[..., channel] = np.clip(np.rint(seen), 0.0, 255.0)
    return picture
