"""A workload small enough for every test: twelve images, a net of two convolutions, a known right answer.

The foreground is where the first channel is positive; `weights` writes a net that knows it. Load it by
name with `SOURCE`, as the child processes do.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from autoopt.core.configuration import digest
from autoopt.core.store import Artifact, Store
from autoopt.testing.example import CHANNELS, PIPELINE, TILE, WIDTH, build, drawn_case, weights, workload
from autoopt.workloads.contract import Case, Sample, Splits, Workload
from autoopt.workloads.data.reading import Reading

__all__ = ["PIPELINE", "TILE", "WIDTH", "build", "weights", "workload"]

SOURCE = f"{Path(__file__).resolve()}:workload"
CASES_SOURCE = f"{Path(__file__).resolve()}:whole_cases"
PIXELS_SOURCE = f"{Path(__file__).resolve()}:pixels"
ENDLESS_SOURCE = f"{Path(__file__).resolve()}:endless"
PICTURES_SOURCE = f"{Path(__file__).resolve()}:pictures"
MANY_SOURCE = f"{Path(__file__).resolve()}:many"
PIXEL_SHAPES = ((16, 16), (32, 16), (12, 16))
"""Shapes that tiles cover without overlapping."""


def whole_cases(data: Path | None = None) -> Workload:
    """The tiny workload with whole cases timed, so that its tile and overlap may be searched."""
    return replace(workload(data), name="tiny-cases", latency="case")


def endless(data: Path | None = None) -> Workload:
    """The tiny workload with a training that nobody will see the end of, called as demo data is."""
    small = workload(data)
    return replace(small, name="tiny-endless", recipe=replace(small.recipe, epochs=1_000_000), demo=True)


def many(data: Path | None = None) -> Workload:
    """The tiny workload with sixty patients in val: enough for a look at a few of them first."""
    small = workload(data)
    val = tuple(drawn_case(100 + index, f"val-{index}", TILE) for index in range(60))
    return replace(small, name="tiny-many", splits=replace(small.splits, val=val), data_digest=digest("many"))


def pixels(data: Path | None = None) -> Workload:
    """The tiny workload on images of 8 bits, the foreground where the first channel is in the upper half."""
    train, calibration, val, test = (
        tuple(_pixel_case(seed * 3 + index, f"patient-{seed}", shape) for index, shape in enumerate(PIXEL_SHAPES))
        for seed in range(4)
    )
    pipeline = replace(PIPELINE, overlap=0.0, scale=255.0, mean=(0.5, 0.45, 0.55), std=(0.25, 0.2, 0.3))
    splits = Splits(train, calibration, val, test)
    return replace(workload(data), name="tiny-pixels", pipeline=pipeline, splits=splits, data_digest=digest("pixels"))


def pictures(data: Path | None = None) -> Workload:
    """The tiny workload as one that says how its images are read from files."""
    return replace(workload(data), name="tiny-pictures", reading=Reading(colours=True, value_range=255.0))


def _pixel_case(seed: int, group: str, shape: tuple[int, ...]) -> Case:
    def read() -> Sample:
        image = np.random.default_rng(seed).integers(0, 256, size=(*shape, CHANNELS), dtype=np.uint8)
        return Sample(image, (image[..., 0] > 127).astype(np.uint8))

    return Case(f"case-{seed:02d}", group, read, tags={"shape": "x".join(map(str, shape))})


def exported(root: Path) -> dict[str, Artifact]:
    """The tiny model in every format, made in this process, as artifacts of a store in `root`."""
    from autoopt.compress.export import export, load_source

    store, tiny = Store(root / "store"), workload()
    path = weights(root / "tiny.safetensors")
    source = load_source(tiny, path)
    made: dict[str, Artifact] = {}
    for name in ("onnx", "openvino", "torch", "fake"):
        parent = made["onnx"].path if name == "openvino" else None
        made[name] = store.put(
            "model", name, {}, partial(export, name, "f32", tiny, path, source=source, parent=parent)
        )
    return made
