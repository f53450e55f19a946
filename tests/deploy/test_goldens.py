"""Golden inputs: no patient's, small, in the range of the pipeline; answers near enough pass, others do not."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.deploy.goldens import (
    MOST_OUTPUT_VALUES,
    Deviation,
    array_bytes,
    deviation,
    goldens,
    read_array,
    sampled,
    shaken,
    tolerance,
)
from autoopt.errors import BundleError
from autoopt.inference.pipeline import Pipeline, predict
from tests import tiny

VOLUME = replace(
    tiny.PIPELINE, channels=1, mean=(0.0,), std=(1.0,), tile=(96, 96, 64), orientation="LPS", spacing_mm=(1.0, 1.0, 2.0)
)
KINDS: dict[str, Pipeline] = {
    "2D": tiny.PIPELINE,
    "2D pixels": replace(tiny.PIPELINE, tile=(224, 224), scale=255.0, in_graph="both", overlap=0.0),
    "2D pixels among zeros": replace(tiny.PIPELINE, tile=(224, 224), in_graph="input", padding="zero"),
    "2D classes": replace(tiny.PIPELINE, task="classification", fit="resize", tile=(64, 64)),
    "2D middle": replace(tiny.PIPELINE, fit="center", tile=(40, 30)),
    "stack": replace(VOLUME, tile=(64, 64), sliced=True, orientation="RAS", spacing_mm=(0.7, 0.7)),
    "3D": VOLUME,
    "3D classes": replace(VOLUME, task="classification", intensity="zscore"),
    "3D of four channels": replace(VOLUME, channels=4, mean=(0.0,) * 4, std=(1.0,) * 4, intensity="percentile"),
    "CT": replace(VOLUME, clip=(-1000.0, 400.0)),
}


def network(pipeline: Pipeline) -> Any:
    """Says foreground where the first channel is high."""

    def run(batch: np.ndarray) -> np.ndarray:
        first = batch[..., 0] if pipeline.takes_pixels else batch[:, 0]
        if pipeline.gives_labels:
            return (first > 127).astype(np.uint8)
        if pipeline.task == "classification":
            return np.array([[-first.mean(), first.mean()]], np.float32)
        return np.stack([-first, first], axis=1).astype(np.float32)

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_every_pipeline_has_golden_inputs(kind: str) -> None:
    """Of every kind of pipeline the two inputs go through it, are small, differ, and are the same every time."""
    pipeline = KINDS[kind]
    noise, phantom = goldens(pipeline)

    assert np.array_equal(noise.image, goldens(pipeline)[0].image)
    assert noise.image.nbytes <= 200_000
    assert (noise.affine is not None) == pipeline.needs_affine
    for golden in (noise, phantom):
        answer = predict(pipeline, network(pipeline), golden.image, golden.affine)
        assert answer.shape == ((2,) if pipeline.task == "classification" else golden.image.shape[:-1])
    if pipeline.task == "segmentation" and pipeline.intensity == "fixed" and pipeline.clip is None:
        assert 0 < answer.mean() < 1  # the range is that of the pipeline: both classes are seen


def test_golden_inputs_are_in_the_range_of_the_pipeline() -> None:
    """Pixels are whole numbers up to 255, a clipped image fills its limits."""
    pixels, ct = goldens(KINDS["2D pixels"])[0].image, goldens(KINDS["CT"])[0].image

    assert pixels.dtype == np.uint8 and pixels.max() > 200
    assert -1000 <= ct.min() < -900 and 300 < ct.max() <= 400


def test_a_large_output_is_sampled() -> None:
    """Of a large output numbers from all of it are kept, of a small one all."""
    small, large = np.arange(100.0).reshape(1, 2, 50), np.arange(1e6, dtype=np.float32).reshape(1, 4, 500, 500)

    assert np.array_equal(sampled(small), np.arange(100))
    kept = sampled(large)
    assert len(kept) <= MOST_OUTPUT_VALUES and kept[0] == 0 and kept[-1] > 999_000
    assert len({int(value) % 500 for value in kept}) == 500  # every column


@pytest.mark.parametrize("batch", [np.full((1, 3, 8, 8), 100.0, np.float32), np.full((1, 64, 64, 3), 255, np.uint8)])
def test_a_shaken_input_is_nearly_the_same(batch: np.ndarray) -> None:
    """A shaken input has the same type and differs by less than an eye sees."""
    moved = shaken(batch)

    assert moved.dtype == batch.dtype and moved.shape == batch.shape
    assert np.abs(moved.astype(float) - batch.astype(float)).max() <= 1
    assert batch.dtype == np.uint8 or not np.array_equal(moved, batch)


def test_rounding_is_within_the_tolerance_and_another_precision_is_not() -> None:
    """Sums in another order are as the answer was; the same numbers rounded to bfloat16 are not."""
    generator = np.random.default_rng(0)
    inputs, weights = generator.normal(size=(1000, 256)).astype(np.float32), generator.normal(size=256)
    expected = inputs @ weights.astype(np.float32)
    other = (inputs[:, ::-1] @ weights[::-1].astype(np.float32)).astype(np.float32)
    bfloat = (expected.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    allowed = tolerance(expected, [other], "f32")

    assert deviation(expected, other).within(allowed)
    assert not deviation(expected, bfloat).within(allowed)
    assert deviation(expected, bfloat).within(tolerance(expected, [], "bf16"))


@pytest.mark.parametrize(
    "found",
    [np.zeros(3, np.float32), np.zeros(4, np.uint8), np.full(4, np.nan, np.float32)],
    ids=["shape", "kind", "nan"],
)
def test_what_cannot_be_compared_is_never_near(found: np.ndarray) -> None:
    """An answer of another shape or kind, or one that is not finite, is outside of any tolerance."""
    expected = np.zeros(4, np.float32)

    assert not deviation(expected, found).within({"rms": 1e300, "most": 1e300, "share": 0.5})


def test_labels_may_differ_a_little() -> None:
    """A few labels in a thousand may differ, more only where a shaken input changed as many; no tolerance is none."""
    expected = np.zeros(1000, np.uint8)
    two, ten = expected.copy(), expected.copy()
    two[:2], ten[:10] = 1, 1

    assert deviation(expected, two).within(tolerance(expected, [], "f32"))
    assert not deviation(expected, ten).within(tolerance(expected, [], "f32"))
    assert deviation(expected, ten).within(tolerance(expected, [two], "f32"))
    assert not Deviation(share=0.0).within({})


def _lying(path: Path, shape: tuple[int, ...] = (10**12,)) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    path.write_bytes(stream.getvalue() + b"\0" * 64)


def _archive(path: Path) -> None:
    stream = io.BytesIO()
    np.savez(stream, x=np.zeros(3))
    path.write_bytes(stream.getvalue())


WRONG = {
    "no array": lambda path: path.write_bytes(b"nothing"),
    "empty": lambda path: path.write_bytes(b""),
    "a size that is not there": _lying,
    "objects": lambda path: np.save(path, np.array([{}], object), allow_pickle=True),
    "an archive": _archive,
    "no end of a header": lambda path: path.write_bytes(
        b"\x93NUMPY\x01\x00\xff\xff{'descr': '<f4', 'shape':((16, 16), }"
    ),
    "a size below zero": lambda path: _lying(path, (-1,)),
    "texts": lambda path: np.save(path, np.array(["a"])),
    "nothing there": lambda path: None,
}


@pytest.mark.parametrize("kind", ["u1", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 4), (0, 5)])
def test_an_array_is_read_as_it_was_written(tmp_path: Path, kind: str, shape: tuple[int, ...]) -> None:
    """Arrays of numbers of any shape and kind come back bit for bit, also turned ones, and numpy reads them too."""
    path, array = tmp_path / "golden.npy", np.asarray(np.arange(math.prod(shape)).reshape(shape), kind)
    for one in (array, array.T):
        path.write_bytes(array_bytes(one))
        found = read_array(path)
        assert (
            found.dtype == one.dtype
            and found.shape == (one.shape or (1,))
            and np.array_equal(found, one.reshape(found.shape))
        )
        assert np.array_equal(np.load(path), found)


@pytest.mark.parametrize("name", WRONG)
def test_an_array_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    """A file that is no array of numbers, or claims to be larger than it is, is refused by name and takes no memory."""
    path = tmp_path / "golden.npy"
    WRONG[name](path)

    with pytest.raises(BundleError, match=r"golden\.npy must be an array of numbers"):
        read_array(path)
