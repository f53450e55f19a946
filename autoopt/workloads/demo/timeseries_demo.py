"""The embedded demo data of the timeseries workload: synthetic windows of movement, the same on every machine.

Every invented person bends and stretches as in an exercise, with a range, pace, muscle tone and sensors of their own.
A window has four joint angles and the envelopes of four muscles. In a fluent one the joints follow each other; in a
guarded one the trunk stays stiff, because muscles on both sides of it work at the same time; in a hesitant one the
movement halts and goes on. Range, pace and tone alone tell little: they differ more between persons than classes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoopt.workloads.demo.canvas import Array, Draw
from autoopt.workloads.demo.folders import write_demo

GENERATOR = "timeseries-demo"
VERSION = 1
SEED = 7
"""The first part of every seed here; other demo data have others."""
LENGTH = 192
"""Samples of a window."""
JOINTS = ("knee", "hip", "trunk", "shoulder")
MUSCLES = ("thigh", "calf", "lower back", "abdomen")
CHANNELS = (*JOINTS, *MUSCLES)
CLASSES = ("fluent", "guarded", "hesitant")
SHARES = (0.5, 0.25, 0.25)
"""Of the windows of a person: most movement is fluent."""
PERSON_SPLITS = (("train", 36), ("val", 14), ("test", 14))
WINDOWS = 16
STEP = 2.0**-10
"""Values are whole multiples of this, so that the last bit of a sine, which differs between processors, is cut."""
TRUNK, BACK, ABDOMEN = JOINTS.index("trunk"), 6, 7


@dataclass(frozen=True)
class Person:
    """What the windows of one person have in common; `gains` and `offsets` are those of the sensors, (channels,)."""

    index: int
    split: str
    reach: float
    pace: float
    tone: float
    noise: float
    gains: Array
    offsets: Array

    @property
    def name(self) -> str:
        """The person in the data."""
        return f"P{self.index:02d}"


def persons() -> list[Person]:
    """All persons, in the order of their names."""
    splits = [split for split, count in PERSON_SPLITS for _ in range(count)]
    return [_person(index, split) for index, split in enumerate(splits)]


def write(folder: Path) -> None:
    """Fill `folder` with windows.npz and demo.json; return at once when it is already there."""
    write_demo(folder, GENERATOR, VERSION, _fill)


def draw_window(person: Person, index: int) -> tuple[np.ndarray, int]:
    """Window number `index` of a person: float32 (channels, 192), and the number of its class."""
    draw = Draw(SEED, 1, person.index, index)
    place = (index + 0.5) / WINDOWS
    kind = int(np.searchsorted(np.cumsum(SHARES), place))
    pace = person.pace * draw.one(0.8, 1.25)
    progress = _halting(draw) if CLASSES[kind] == "hesitant" else _flowing(draw)
    phase = draw.one(0.0, 2 * np.pi) + 2 * np.pi * pace * progress
    stiff = draw.one(0.3, 0.75) if CLASSES[kind] == "guarded" else draw.one(0.0, 0.25)
    lags = np.array([0.0, 0.25, 0.6, 1.1]) + draw.between(-0.15, 0.15, len(JOINTS))
    reaches = person.reach * np.array([1.0, 0.8, 0.7, 0.5]) * draw.between(0.75, 1.25, len(JOINTS))
    reaches[TRUNK] *= 1.0 - stiff
    angles = reaches[:, None] * np.sin(phase[None] - lags[:, None])
    values = np.concatenate([angles, _muscles(person, draw, phase - lags[TRUNK], stiff)])
    values = person.gains[:, None] * values + person.offsets[:, None]
    grain = draw.between(-1.0, 1.0, values.shape) + draw.between(-1.0, 1.0, values.shape)
    values = values + person.noise * grain
    return np.asarray(np.floor(values / STEP + 0.5) * STEP, np.float32), kind


def _fill(folder: Path) -> str:
    windows, labels, groups, splits = [], [], [], []
    digest = hashlib.sha256()
    for person in persons():
        for index in range(WINDOWS):
            values, kind = draw_window(person, index)
            digest.update(f"{person.name}-{index} {kind} {person.split}".encode() + values.tobytes())
            windows.append(values)
            labels.append(CLASSES[kind])
            groups.append(person.name)
            splits.append(person.split)
    np.savez(folder / "windows.npz", series=np.stack(windows), labels=labels, groups=groups, splits=splits)
    return digest.hexdigest()


def _person(index: int, split: str) -> Person:
    draw = Draw(SEED, 0, index)
    return Person(
        index=index,
        split=split,
        reach=draw.one(0.5, 1.4),
        pace=draw.one(1.2, 2.6),
        tone=draw.one(0.1, 0.5),
        noise=draw.one(0.02, 0.12),
        gains=draw.between(0.7, 1.4, len(CHANNELS)),
        offsets=draw.between(-0.3, 0.3, len(CHANNELS)),
    )


def _flowing(draw: Draw) -> Array:
    """How far the movement is along a window, 0 to 1: with a pace that varies gently, as it does in everybody."""
    time = (np.arange(LENGTH) + 0.5) / LENGTH
    wave = draw.one(0.0, 0.12) * np.sin(2 * np.pi * (draw.one(0.7, 1.6) * time + draw.one(0.0, 1.0))) / (2 * np.pi)
    return np.asarray(time + wave - wave[0])


def _halting(draw: Draw) -> Array:
    """As `_flowing`, with one or two halts in it, each a tenth to a quarter of the window."""
    speed = np.ones(LENGTH)
    for _ in range(1 + int(draw.happens(0.4))):
        middle, half = draw.one(0.15, 0.85) * LENGTH, draw.one(0.05, 0.12) * LENGTH
        away = np.abs(np.arange(LENGTH) - middle)
        speed = np.minimum(speed, np.clip((away - half) / 6.0, draw.one(0.0, 0.25), 1.0))
    return np.asarray(np.cumsum(speed) / speed.sum() * draw.one(0.75, 1.0))


def _muscles(person: Person, draw: Draw, phase: Array, stiff: float) -> Array:
    """The envelopes of the muscles, (4, 192): in turns, unless a stiff trunk needs both of its sides."""
    up, down = np.maximum(np.sin(phase), 0.0), np.maximum(-np.sin(phase), 0.0)
    strength = draw.between(0.5, 1.1, len(MUSCLES))
    active = np.stack([up, down, up, down]) * strength[:, None]
    both = stiff * draw.one(0.5, 0.9)
    held = both * (0.6 + 0.4 * np.abs(np.sin(0.5 * phase)))
    active[BACK - len(JOINTS)] = np.maximum(active[BACK - len(JOINTS)], held)
    active[ABDOMEN - len(JOINTS)] = np.maximum(active[ABDOMEN - len(JOINTS)], held)
    return np.asarray(person.tone * draw.one(0.6, 1.4) + active)
