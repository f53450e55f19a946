"""Synthetic heads: a digital phantom with brain, fluid, skull, scalp, face and neck, seen by an MR scanner.

All lengths are mm in head coordinates: +x right, +y anterior, +z superior, the origin in the middle of the brain. The
same voxels everywhere: all arithmetic is float64, all randomness is made of uniform doubles, and no result sits on a
rounding border. No tissue, disease or intensity follows a real person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoopt.workloads.demo.canvas import Draw

Array = np.ndarray[Any, np.dtype[np.float64]]
KNOT_REACH_MM = 150.0
"""Smooth noise is drawn this far around the origin."""

TISSUES = ("csf", "gray", "white", "fat", "muscle", "bone", "marrow", "vitreous", "lesion", "mucosa")
CONTRASTS: Mapping[str, Mapping[str, float]] = {
    "T1w": dict(zip(TISSUES, (190, 420, 630, 860, 430, 70, 560, 170, 400, 480), strict=True)),
    "T2w": dict(zip(TISSUES, (1000, 600, 430, 690, 330, 60, 430, 1050, 760, 800), strict=True)),
    "FLAIR": dict(zip(TISSUES, (120, 480, 400, 520, 370, 60, 330, 130, 680, 560), strict=True)),
}
"""Intensities without noise, in the order that each contrast is known for."""


@dataclass(frozen=True)
class Head:
    """One patient's anatomy: a seed and the sizes that follow from it, mm."""

    seed: int
    axes: tuple[float, float, float]
    sulcus: float
    gyrus: float
    ventricle: float
    skull: float
    scalp: float
    lesions: int
    turn: tuple[float, float, float]


@dataclass(frozen=True)
class Scan:
    """How one volume is taken: contrast, voxel sizes and the number of voxels in RAS order, and its own seed."""

    seed: int
    contrast: str
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]


def draw_head(seed: int) -> Head:
    """The patient of a seed."""
    draw = Draw(20, seed)
    size = draw.one(0.93, 1.07)
    return Head(
        seed=seed,
        axes=(68 * size * draw.one(0.96, 1.04), 86 * size * draw.one(0.96, 1.04), 66 * size * draw.one(0.96, 1.04)),
        sulcus=draw.one(7.0, 12.0),
        gyrus=draw.one(15.0, 20.0),
        ventricle=draw.one(0.8, 1.45),
        skull=draw.one(4.0, 6.5),
        scalp=draw.one(4.0, 8.0),
        lesions=int(draw.one(0, 9)),
        turn=(draw.one(-0.12, 0.12), draw.one(-0.10, 0.10), draw.one(-0.10, 0.10)),
    )


def scan_head(head: Head, scan: Scan) -> tuple[np.ndarray, np.ndarray]:
    """The volume, uint16, and its brain mask, uint8, both (x, y, z) in RAS order with the head in the middle."""
    grid = _Grid(head, scan)
    mask, intensity = _tissues(head, scan, grid)
    return _acquired(intensity, scan, grid), mask


class _Grid:
    """The voxel centres of a scan, in scanner and in head coordinates, and smooth noise on them."""

    def __init__(self, head: Head, scan: Scan) -> None:
        draw = Draw(21, scan.seed)
        shift = draw.between(-6.0, 6.0, 3) + np.array([0.0, 0.0, -8.0])
        self.lines = [
            (np.arange(count) - (count - 1) / 2) * spacing + offset
            for count, spacing, offset in zip(scan.shape, scan.spacing_mm, shift, strict=True)
        ]
        self.voxel = float(np.mean(scan.spacing_mm))
        self.shape = scan.shape
        x, y, z = np.meshgrid(*self.lines, indexing="ij", sparse=True)
        yaw, pitch, roll = head.turn  # small angles: the plane of a slice is not quite that of the head
        self.x = x - yaw * y + roll * z
        self.y = yaw * x + y - pitch * z
        self.z = -roll * x + pitch * y + z

    def noise(self, draw: Draw, step: float) -> Array:
        """Smooth noise of the head: mean 0, standard deviation about 1, correlated over `step` mm."""
        knots = int(2 * KNOT_REACH_MM / step) + 4
        x, y, z = (_spline(line, step, knots) for line in self.lines)
        field = np.tensordot(x, draw.between(-1.0, 1.0, (knots,) * 3), axes=1)
        return np.asarray(5.8 * (y @ field @ z.T))

    def ball(self, centre: tuple[float, float, float], axes: tuple[float, float, float]) -> Array:
        """How deep inside an ellipsoid each voxel is, in about mm; negative outside."""
        square = ((self.x - centre[0]) / axes[0]) ** 2
        square += ((self.y - centre[1]) / axes[1]) ** 2
        square += ((self.z - centre[2]) / axes[2]) ** 2
        return np.asarray((1 - np.sqrt(square)) * (axes[0] * axes[1] * axes[2]) ** (1 / 3))

    def share(self, depth: Array) -> Array:
        """The share of a voxel that lies inside, from its centre's depth."""
        return np.clip(depth / self.voxel + 0.5, 0.0, 1.0)


def _tissues(head: Head, scan: Scan, grid: _Grid) -> tuple[np.ndarray, Array]:
    """The brain mask and the intensity without noise."""
    draw = Draw(22, head.seed)
    wrinkles, large, walls, lumps, fine = (grid.noise(draw, step) for step in (head.gyrus, 45.0, 30.0, 22.0, 8.0))
    a, b, c = head.axes
    # The vault is a half ellipsoid; below its equator the head is flatter, and the skull's base cuts through.
    vault = grid.ball((0.0, 0.0, 0.0), (a, b, c)) + 2.0 * large
    base = grid.z + 38.0 - 0.10 * grid.y + 3.0 * large
    dome = np.minimum(vault, base)
    fossa = grid.ball((0.0, -0.46 * b, -40.0), (0.74 * a, 0.46 * b, 30.0)) + 1.0 * large
    stem = np.minimum(
        11.0 + 0.5 * large - np.sqrt((grid.x) ** 2 + (grid.y + 14.0 + 0.12 * (grid.z + 40.0)) ** 2), -20 - grid.z
    )
    inner = np.maximum(np.maximum(dome, fossa), stem)
    table = _Table(scan)
    brain, gray_depth = _brain(head, grid, dome, fossa, stem, wrinkles, fine)
    intensity = _outside(head, grid, table, draw, inner, large, walls, lumps, fine)
    intensity = _over(intensity, grid.share(inner), table["csf"])
    # The dura, and the sinus that runs in it from front to back: as bright as cortex, right beside it.
    intensity = _over(intensity, grid.share(1.2 + 0.8 * large - np.abs(inner - 0.6)), 0.85 * table["gray"])
    sinus = 5.0 + large - np.sqrt(grid.x**2 + (dome - 1.0) ** 2)
    intensity = _over(intensity, grid.share(np.minimum(sinus, grid.z + 10.0)), table["gray"])
    intensity = _over(intensity, grid.share(brain), table["gray"])
    intensity = _over(intensity, grid.share(gray_depth - 4.0 + 1.0 * fine), table["white"])
    for side in (-1.0, 1.0):
        nucleus = grid.ball((side * 22.0, 4.0, 2.0), (11.0, 18.0, 11.0)) + lumps
        intensity = _over(intensity, grid.share(nucleus), 0.6 * table["gray"] + 0.4 * table["white"])
    for depth in _ventricles(head, grid, large):
        intensity = _over(intensity, grid.share(depth), table["csf"])
    for _ in range(head.lesions):
        place = (draw.one(-38, 38), draw.one(-45, 45), draw.one(2, 32))
        spot = grid.ball(place, (draw.one(3, 6), draw.one(3, 8), draw.one(3, 6))) + 0.7 * fine
        intensity = _over(intensity, grid.share(np.minimum(spot, gray_depth - 6.0)), table["lesion"])
    # Below the foramen the stem is spinal cord: the same tissue, and no brain.
    mask = (brain > 0) & (grid.z > -72.0)
    return mask.astype(np.uint8), intensity


def _brain(
    head: Head, grid: _Grid, dome: Array, fossa: Array, stem: Array, wrinkles: Array, fine: Array
) -> tuple[Array, Array]:
    """How deep in brain, and how deep below its cortex, each voxel is."""
    # A sulcus runs where the noise changes its sign; deep ones, and the fissure between the halves, reach far in.
    cut = head.sulcus * np.clip(1.0 - np.abs(wrinkles) / 0.55, 0.0, 1.0)
    halves = 7.0 * np.clip(1.0 - np.abs(grid.x) / 3.2, 0.0, 1.0) * np.clip((grid.z + 5.0) / 15.0, 0.0, 1.0)
    cerebrum = dome - 2.2 - np.maximum(cut, halves) - 0.5 * fine
    folia = 2.0 * np.clip(1.0 - np.abs(fine) / 0.5, 0.0, 1.0)
    brain = np.maximum(np.maximum(cerebrum, fossa - 2.5 - folia), stem - 3.0)
    return brain, np.maximum(np.maximum(cerebrum, fossa - 6.0 - folia), stem - 0.5)


def _ventricles(head: Head, grid: _Grid, large: Array) -> list[Array]:
    """How deep in each ventricle: two lateral ones with their horns, the third, the fourth."""
    size = head.ventricle
    depths = [
        grid.ball((0.0, 0.0, 0.0), (2.2 * size, 12.0, 9.0)),
        grid.ball((0.0, -32.0, -34.0), (6.0 * size, 5.0, 8.0)),
    ]
    for side in (-1.0, 1.0):
        body = grid.ball((side * 11.0, 2.0, 16.0), (6.0 * size, 32.0, 7.5 * size))
        horn = grid.ball((side * 19.0, -34.0, 4.0), (6.0 * size, 14.0, 8.0 * size))
        depths.append(np.maximum(body, horn) + 0.6 * large)
    return depths


def _outside(
    head: Head,
    grid: _Grid,
    table: _Table,
    draw: Draw,
    inner: Array,
    large: Array,
    walls: Array,
    lumps: Array,
    fine: Array,
) -> Array:
    """The intensity of everything around the inside of the skull, which is left filled with bone."""
    skull = np.maximum(head.skull + 2.6 * walls, 0.8)
    scalp = np.maximum(head.scalp + 1.5 * large + 0.8 * lumps, 2.0)
    face = grid.ball((0.0, 42.0, -78.0), (54.0, 52.0, 62.0)) + 3.0 * large
    neck = np.minimum(grid.ball((0.0, -22.0, -110.0), (58.0, 60.0, 130.0)) + 2.0 * lumps, -25.0 - grid.z)
    jaw = np.maximum(face, neck)
    head_depth = np.maximum(inner + skull + scalp, jaw)
    intensity = _over(np.zeros(grid.shape), grid.share(head_depth), table["fat"])
    # Muscles: the temples, and bundles with fat between them in face and neck.
    temples = np.minimum(inner + skull + scalp - 2.0, 6.0 - np.abs(np.abs(grid.x) - 68.0) + 4.0 * lumps)
    bundles = np.minimum(jaw - scalp, 6.0 * (lumps + 0.7 * walls + 0.45))
    intensity = _over(intensity, grid.share(np.maximum(temples, bundles)), table["muscle"] * (1.0 + 0.10 * fine))
    # Air in nose, mouth and sinuses, with a lining; then the eyes in their fat.
    cavity = (
        np.maximum(grid.ball((0.0, 66.0, -62.0), (13.0, 26.0, 27.0)), grid.ball((0.0, 76.0, -30.0), (22.0, 8.0, 13.0)))
        + 3.0 * lumps
    )
    intensity = _over(intensity, grid.share(cavity + 3.0), table["mucosa"])
    intensity = _over(intensity, grid.share(cavity), 0.0)
    # The base of the skull has openings for nerves and vessels; marrow fills its bone, thick or thin.
    bone = skull / 2 + 0.4 - np.abs(inner + skull / 2)
    bone = np.minimum(bone, np.where(grid.z < -8.0, 5.0 * (0.85 - lumps), bone))
    intensity = _over(intensity, grid.share(bone), table["bone"])
    intensity = _over(intensity, grid.share(skull / 2 - 1.0 - np.abs(inner + skull / 2)), table["marrow"])
    for side in (-1.0, 1.0):
        centre = (side * 31.0, 66.0 + draw.one(-3, 3), -38.0)
        intensity = _over(intensity, grid.share(grid.ball(centre, (18.0, 17.0, 16.0))), table["fat"])
        intensity = _over(intensity, grid.share(grid.ball(centre, (12.5, 12.5, 12.5))), table["muscle"])
        intensity = _over(intensity, grid.share(grid.ball(centre, (11.0, 11.0, 11.0))), table["vitreous"])
    return intensity


class _Table:
    """The intensities of one scan: those of its contrast, each a little off, as they are from scanner to scanner."""

    def __init__(self, scan: Scan) -> None:
        draw = Draw(23, scan.seed)
        gain = draw.one(0.7, 1.6)
        self._values = {
            tissue: value * gain * draw.one(0.94, 1.06) for tissue, value in CONTRASTS[scan.contrast].items()
        }

    def __getitem__(self, tissue: str) -> float:
        return self._values[tissue]


def _acquired(intensity: Array, scan: Scan, grid: _Grid) -> np.ndarray:
    """What the scanner stores: coil sensitivity, a ghost along y, Rician noise, uint16."""
    draw = Draw(24, scan.seed)
    bias = np.clip(1.0 + draw.one(0.15, 0.30) * grid.noise(draw, 80.0), 0.4, 1.8)
    signal = intensity * bias
    signal = signal + draw.one(0.0, 0.03) * np.roll(signal, scan.shape[1] // 2, axis=1)
    level = draw.one(0.03, 0.07) * CONTRASTS[scan.contrast]["white"]
    real, imaginary = (level * _bell(draw, scan.shape) for _ in range(2))
    return np.rint(np.sqrt((signal + real) ** 2 + imaginary**2)).astype(np.uint16)


def _bell(draw: Draw, shape: tuple[int, ...]) -> Array:
    """Nearly normal numbers with deviation 1: the sum of four uniform ones."""
    total = draw.between(-0.5, 0.5, shape)
    for _ in range(3):
        total = total + draw.between(-0.5, 0.5, shape)
    return np.asarray(total * 3.0**0.5)


def _over(under: Array, share: Array, value: float | Array) -> Array:
    return under + share * (value - under)


def _spline(places: Array, step: float, knots: int) -> Array:
    """Cubic B-spline weights (places, knots) for knots `step` mm apart around the origin."""
    away = np.abs(places[:, None] / step - (np.arange(knots) - (knots - 1) / 2)[None, :])
    near, far = 2.0 / 3.0 - away**2 + away**3 / 2.0, np.maximum(2.0 - away, 0.0) ** 3 / 6.0
    return np.where(away < 1.0, near, far)
