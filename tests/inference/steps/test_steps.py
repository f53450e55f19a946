"""What holds for every kind of step: plain data both ways, bad fields named, labels and answers follow the image."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from autoopt.inference.pipeline import Pipeline
from autoopt.inference.steps.axes import Axes, Orient
from autoopt.inference.steps.base import Item, Step
from autoopt.inference.steps.foreground import CropForeground
from autoopt.inference.steps.own_range import MinMax, Percentile, ZScore
from autoopt.inference.steps.resample import Resample, Resize
from autoopt.inference.steps.spline import ResampleSpline
from autoopt.inference.steps.table import STEPS, from_json, name_of, to_json
from autoopt.inference.steps.values import Affine, Clip

EXAMPLES: dict[str, Step] = {
    "axes": Axes((2, 0, 1)),
    "orient": Orient("LPS"),
    "crop_foreground": CropForeground(above=-0.5, margin=(1,), divisible=2),
    "resample": Resample((2.0, 1.0, 0.8), "first_voxel", "linear"),
    "resample_spline": ResampleSpline((2.0, 1.0, 0.8)),
    "resize": Resize((5, 6, 7)),
    "clip": Clip(low=-0.5, high=0.5),
    "affine": Affine(subtract=(0.5,), divide=(2.0,)),
    "percentile": Percentile(low=5, high=95),
    "min_max": MinMax(channels=(0,)),
    "zscore": ZScore(where="nonzero"),
}
WRONG: dict[str, list[tuple[dict[str, Any], str]]] = {
    "axes": [({"order": [0, 1]}, "order must have each of the axes"), ({"order": 3}, "order must have")],
    "orient": [({"to": "RAX"}, "three letters"), ({"to": 5}, "three letters")],
    "crop_foreground": [
        ({"margin": [-1]}, "margin must be"),
        ({"above": "x"}, "above must be"),
        ({"divisible": 0}, "divisible must be"),
        ({"channels": [4]}, "channels must be"),
        ({"fill_holes": 1}, "fill_holes must be"),
    ],
    "resample": [
        ({"spacing_mm": [1, 1]}, "spacing_mm must have one size"),
        ({"spacing_mm": [1, 1, 0]}, "spacing_mm must have one size"),
        ({"spacing_mm": [1, 1, 1], "kernel": "best"}, "kernel must be"),
        ({"spacing_mm": [1, 1, 1], "grid": "last"}, "grid must be"),
    ],
    "resample_spline": [
        ({"spacing_mm": "1x1x1"}, "spacing_mm must have"),
        ({"spacing_mm": [1, 1, 1], "order": 9}, "order must be"),
        ({"spacing_mm": [1, 1, 1], "separate": "yes"}, "separate must be"),
    ],
    "resize": [({"sizes": [1, 0, 2]}, "sizes must be"), ({"sizes": [1 << 40] * 3}, "fits into memory")],
    "clip": [({}, "clip must have"), ({"low": 2, "high": 1}, "clip must have"), ({"low": "a"}, "clip must have")],
    "affine": [({"divide": [0]}, "divide must not be 0"), ({"subtract": ["a"]}, "subtract must be")],
    "percentile": [({"low": 5, "high": 101}, "percentiles must be"), ({"to": [1]}, "to must be")],
    "min_max": [({"least": 0}, "least must be"), ({"each_channel": "no"}, "each_channel must be")],
    "zscore": [({"where": "here"}, "where must be"), ({"divide": [0]}, "divide must not be 0")],
}
AFFINE = np.array([[0.0, 1.0, 0, 3], [-1.2, 0, 0, 4], [0, 0, 3.0, -5], [0, 0, 0, 1]])


def image() -> np.ndarray:
    """A volume of noise that is brighter in a box."""
    values = np.random.default_rng(0).normal(size=(9, 10, 7, 1)).astype(np.float32) - 3
    values[2:6, 3:8, 1:5] += 6
    return values


def test_every_kind_has_an_example() -> None:
    """A kind of step that is added to the table is added to the tests of this file."""
    assert set(EXAMPLES) == set(WRONG) == set(STEPS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_as_json_and_back(name: str) -> None:
    """A step comes back from JSON as it was, and is called by its name there."""
    step = EXAMPLES[name]
    plain = json.loads(json.dumps(to_json(step)))
    assert plain["step"] == name == name_of(step)
    assert from_json(plain) == step


@pytest.mark.parametrize("name", EXAMPLES)
def test_labels_follow_the_image(name: str) -> None:
    """Labels go where the image goes, and what is answered there comes back to the sizes of the image."""
    values = image()
    item, move = EXAMPLES[name].apply(Item(values, AFFINE))
    assert item.values.dtype == np.float32 and item.values.ndim == 4
    if move is None:
        assert item.sizes == values.shape[:-1]
        return
    bright = (values[..., 0] > 0).astype(np.uint8)
    there = move.labels_there(bright, 255)
    assert there.shape == item.sizes
    answers = np.stack([1 - there, there]).astype(np.float32)
    back = move.values_back(answers, np.array([1.0, 0.0], np.float32)).argmax(0)
    assert back.shape == bright.shape
    assert np.mean(back == bright) > 0.85
    assert np.mean(move.labels_back(there) == bright) > 0.85
    if not move.interpolates:
        np.testing.assert_array_equal(back, move.labels_back(there))


@pytest.mark.parametrize(
    ("name", "fields", "problem"), [(name, *each) for name, all_ in WRONG.items() for each in all_]
)
def test_bad_fields_are_named(name: str, fields: dict[str, Any], problem: str) -> None:
    """A field that cannot work is refused with its step's place and name when the pipeline is made."""
    step = from_json({"step": name, **fields})
    with pytest.raises(ValueError, match=rf"steps.0 \({name}\): .*{problem}"):
        Pipeline("segmentation", 2, 1, (4, 4, 4), 0.0, 1.0, (0.0,), (1.0,), steps=(step,))


def test_a_stack_that_becomes_too_large_is_refused() -> None:
    """Slices that fit one by one, but not all together, are refused before anything is allocated."""
    stack = Item(np.zeros((1 << 12, 2, 2, 1), np.float32), None, stack=1)
    with pytest.raises(ValueError, match=r"must fit into memory once it is resized, got \(4096, 1024, 1024\)"):
        Resize((1024, 1024)).apply(stack)


def test_a_mask_needs_a_step_that_finds_it() -> None:
    """A z-score of the mask is refused when the pipeline is made unless a crop to the foreground stands before it."""
    size = ("segmentation", 2, 1, (4, 4, 4), 0.0, 1.0, (0.0,), (1.0,))
    crop, scores = CropForeground(), ZScore(where="mask")
    for steps in ((scores,), (scores, crop), (EXAMPLES["resample"], scores)):
        with pytest.raises(ValueError, match=r"\(zscore\): where may be mask only after a crop_foreground step"):
            Pipeline(*size, steps=steps)
    Pipeline(*size, steps=(crop, EXAMPLES["resample"], scores))
    Pipeline(*size, steps=(ZScore(where="nonzero"), crop))


@pytest.mark.parametrize("value", [{"step": "sharpen"}, {"step": ["clip"]}, 5, {"step": "clip", "highest": 3}, {}])
def test_what_is_no_step_is_refused(value: object) -> None:
    """A step of another name or with other fields is refused in one sentence."""
    with pytest.raises(ValueError, match="step"):
        from_json(value)


def test_an_affine_step_in_order() -> None:
    """The order of steps counts: limited and then moved is not moved and then limited."""
    first = Pipeline("segmentation", 2, 1, (9,), 0.0, 1.0, (0.0,), (1.0,), steps=(EXAMPLES["clip"], EXAMPLES["affine"]))
    second = Pipeline(
        "segmentation", 2, 1, (9,), 0.0, 1.0, (0.0,), (1.0,), steps=(EXAMPLES["affine"], EXAMPLES["clip"])
    )
    values = np.linspace(-2, 2, 9, dtype=np.float32)
    np.testing.assert_allclose(first.standardise(values)[0][:, 0], (np.clip(values, -0.5, 0.5) - 0.5) / 2)
    np.testing.assert_allclose(second.standardise(values)[0][:, 0], np.clip((values - 0.5) / 2, -0.5, 0.5))


def test_steps_and_fields_are_not_mixed() -> None:
    """Fields that stand for steps are refused beside a list, because their order would not be known."""
    with pytest.raises(ValueError, match="clip, intensity must keep the default where steps are given"):
        Pipeline(
            *("segmentation", 2, 1, (9,), 0.0, 1.0, (0.0,), (1.0,)),
            steps=(EXAMPLES["affine"],),
            clip=(0.0, 1.0),
            intensity="zscore",
        )  # type: ignore[arg-type]


def test_a_step_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """One file and one line of the table add a kind of step, which a stored pipeline may name."""
    monkeypatch.setitem(STEPS, "square", "tests.extension.toy_image_step:Square")
    plain = Pipeline("segmentation", 2, 1, (4,), 0.0, 1.0, (0.0,), (1.0,)).to_json()
    pipeline = Pipeline.from_json({**plain, "steps": [{"step": "square", "factor": 2.0}]})
    assert Pipeline.from_json(json.loads(json.dumps(pipeline.to_json()))) == pipeline
    np.testing.assert_array_equal(pipeline.standardise(np.array([1.0, 2.0, 3.0, 0.0]))[0][:, 0], [2, 8, 18, 0])
