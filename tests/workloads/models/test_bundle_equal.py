"""An accepted bundle is an equal bundle: what our pipeline makes of an image is what MONAI's own transforms make of it.

Covers bundle_answers, bundle_transforms and bundle_chain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from autoopt.inference.pipeline import Pipeline, predict
from tests.inference.test_grid import CODES, affine_of
from tests.workloads.models.bundles import RANGE, settings_of, steps

transforms = pytest.importorskip("monai.transforms")
data = pytest.importorskip("monai.data")

FEW = settings(max_examples=40, deadline=None)
ZSCORE = {"_target_": "NormalizeIntensityd"}
SPACED = {"_target_": "Spacingd", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"}
TURNED = {"_target_": "Orientationd", "axcodes": "RAS"}
RESIZED = {"_target_": "Resized", "spatial_size": [11, 8, 9], "mode": "trilinear"}
WINDOW = {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8], "overlap": 0.5}
SOFTMAX = {"_target_": "Activationsd", "softmax": True}
THRESHOLD = {"_target_": "AsDiscreted", "threshold": 0.4}
ARGMAX = {"_target_": "AsDiscreted", "argmax": True}
INVERT = {"_target_": "Invertd", "transform": "@preprocessing", "orig_keys": "image", "nearest_interp": False}
NEAREST = {**INVERT, "nearest_interp": True}
SIGMOID = {"_target_": "Activationsd", "sigmoid": True}
FILL = {"_target_": "FillHolesd", "connectivity": 1}
WHOLE = {"_target_": "SimpleInferer"}
NONZERO = {"_target_": "NormalizeIntensityd", "nonzero": True}
SCALED = {"_target_": "ScaleIntensityd", "minv": -1.0, "maxv": 1.0}
CROP = {"_target_": "CropForegroundd", "source_key": "image", "select_fn": "$lambda x: x > 0.25", "k_divisible": 2}
GAUSSIAN = {"mode": "gaussian", "padding_mode": "replicate"}
SLICES = {"_target_": "SliceInferer", "roi_size": [8, 10], "spatial_dim": 2}
LAMBDA = {"_target_": "Lambdad", "func": "$lambda x: x"}
ROUND = {"_target_": "Lambdad", "func": "$torch.round"}
WRITTEN = {"$lambda x: x > 0.25": lambda x: x > 0.25, "$lambda x: x": lambda x: x, "$torch.round": torch.round}
"""What the expressions of these tests are for MONAI, which runs them."""


def after(*items: dict[str, Any]) -> dict[str, Any]:
    """A Compose of transforms of the prediction."""
    return {"_target_": "Compose", "transforms": [{"keys": "pred", **item} for item in items]}


def pipeline_of(folder: Path, content: dict[str, Any], *, channels: int = 1, classes: int = 2, **use: Any) -> Pipeline:
    """The pipeline that a bundle means; a call has the size of its window or of its resized images."""
    read = settings_of(folder, content, channels=channels, classes=classes, **use)
    dimensions = use.get("dimensions", 2)
    tile = tuple(size or 64 for size in read.tile or (64,) * dimensions)
    return Pipeline("segmentation", classes, channels, tile, **{"overlap": 0.25, **read.fields})


def of_monai(items: dict[str, Any], **objects: Any) -> Any:
    """MONAI's own Compose of the transforms; `objects` stand for what they refer to by @."""
    made = []
    for item in items["transforms"]:
        arguments = {
            name: {**WRITTEN, **{f"@{key}": item for key, item in objects.items()}}.get(str(value), value)
            for name, value in item.items()
            if name != "_target_"
        }
        made.append(getattr(transforms, item["_target_"])(**arguments))
    return transforms.Compose(made)


def tensor_of(image: np.ndarray, affine: np.ndarray | None = None) -> Any:
    """An image (*spatial, channels) as MONAI has it after it was loaded."""
    return data.MetaTensor(torch.from_numpy(np.moveaxis(image, -1, 0).copy()), affine=affine)


def both(
    folder: Path, content: dict[str, Any], image: np.ndarray, affine: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """An image after all that comes before the network, (channels, *grid): by our pipeline and by MONAI."""
    pipeline = pipeline_of(folder, content, channels=image.shape[-1], dimensions=image.ndim - 1)
    ours, _ = pipeline.standardise(image, affine)
    theirs = of_monai(content["preprocessing"])({"image": tensor_of(image, affine)})["image"]
    return pipeline.normalise(ours), np.asarray(theirs)


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random values (*shape) that change slowly, from about -100 to 200."""
    values = np.random.default_rng(seed).normal(50, 60, shape)
    for axis in range(len(shape) - 1):
        values = (values + np.roll(values, 1, axis) + np.roll(values, -1, axis)) / 2
    return values.astype(np.float32)


def oblique(code: str, spacing: tuple[float, float, float], angle: float = 0.0) -> np.ndarray:
    """An affine that is turned about an axis that is none of its own, and lies off the origin."""
    axis = np.array([0.6, -0.48, 0.64])
    cross = np.cross(np.eye(3), axis)
    affine = affine_of(code, spacing)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = [-93.7, 41.3, 12.9]
    return affine


SPACINGS = st.tuples(*[st.sampled_from((0.7, 0.9765625, 1.0, 1.4999, 1.5, 2.0, 3.3))] * 3)


@given(
    st.tuples(*[st.integers(1, 14)] * 3),
    SPACINGS,
    SPACINGS,
    st.sampled_from(CODES),
    st.sampled_from(CODES),
    st.sampled_from((0.0, 0.3)),
    st.booleans(),
)
@FEW
def test_volumes_are_turned_and_resampled_as_monai_does(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: tuple[int, int, int],
    have: tuple[float, float, float],
    want: tuple[float, float, float],
    stored: str,
    wanted: str,
    angle: float,
    rounded: bool,
) -> None:
    """Any size, spacing, orientation and oblique axes: grid and values are those of Orientationd and Spacingd.

    Also of an affine in single precision, as files have it: MONAI then no longer finds that the first voxel is first.
    """
    content = {"preprocessing": steps({**TURNED, "axcodes": wanted}, {**SPACED, "pixdim": list(want)})}
    folder = tmp_path_factory.mktemp("bundle")
    affine = oblique(stored, have, angle)
    affine = affine.astype(np.float32).astype(np.float64) if rounded else affine
    ours, theirs = both(folder, content, noise((*sizes, 1)), affine)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("shape", [(11, 14, 9, 1), (17, 23, 3)])
@pytest.mark.parametrize(
    "how",
    [
        {"mode": "area"},
        {"mode": "bilinear"},
        {"mode": "trilinear", "align_corners": False},
        {"mode": "bilinear", "align_corners": True},
        {},
    ],
)
def test_images_are_resized_as_monai_does(tmp_path: Path, shape: tuple[int, ...], how: dict[str, Any]) -> None:
    """Each mode of Resized gives MONAI's values, larger, smaller and equal; a later scale and clip too."""
    for size in ([7, 14, 20], [16, 5, 1]):
        resized = {"_target_": "Resized", "spatial_size": size[: len(shape) - 1], **how}
        content = {"preprocessing": steps(resized, {**RANGE, "clip": True})}
        np.testing.assert_allclose(*both(tmp_path, content, noise(shape)), atol=1e-5)


@pytest.mark.parametrize(
    "how",
    [{"mode": 1}, {"mode": "linear"}, {"align_corners": True}, {"dtype": "float32"}, {"ensure_same_shape": False}],
)
def test_the_arguments_of_spacing_that_are_taken_change_nothing(tmp_path: Path, how: dict[str, Any]) -> None:
    """Order 1, aligned corners and the type in which MONAI computes give the same values."""
    content = {"preprocessing": steps(TURNED, {**SPACED, **how})}
    affine = oblique("PSR", (0.8, 2.9, 1.7), 0.2)
    np.testing.assert_allclose(*both(tmp_path, content, noise((13, 9, 12, 1)), affine), atol=1e-3)


@pytest.mark.parametrize("items", [[RANGE, TURNED, SPACED], [TURNED, SPACED, {**RANGE, "clip": True}, ZSCORE]])
def test_intensities_and_grids_go_together(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    """A scale before a resampling, a clip and a normalisation after it come out as in MONAI."""
    affine = oblique("LPS", (0.8, 2.9, 1.7), 0.2)
    np.testing.assert_allclose(
        *both(tmp_path, {"preprocessing": steps(*items)}, noise((13, 9, 12, 1)), affine), atol=1e-4
    )


def own(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": name, **arguments}


PERCENTILES = own("ScaleIntensityRangePercentilesd", lower=5, upper=90, b_min=-1.0, b_max=2.0)
INTENSITIES = st.sampled_from(
    [
        *(
            own("NormalizeIntensityd", nonzero=zero, channel_wise=wise)
            for zero in (True, False)
            for wise in (True, False)
        ),
        own("NormalizeIntensityd", nonzero=True, subtrahend=40.0),
        own("NormalizeIntensityd", channel_wise=True, divisor=[20.0, 30.0]),
        own("NormalizeIntensityd", nonzero="True", channel_wise="False"),
        own("ScaleIntensityd", minv=-1.0, maxv=1.0),
        own("ScaleIntensityd", channel_wise=True),
        {**PERCENTILES, "clip": False},
        {**PERCENTILES, "clip": True, "channel_wise": True},
        {**PERCENTILES, "relative": True, "clip": True},
        RANGE,
        {**RANGE, "clip": True},
    ]
)
GRIDS = st.sampled_from([SPACED, {**RESIZED, "mode": "trilinear"}, CROP])


@given(st.lists(INTENSITIES, min_size=1, max_size=3), GRIDS, st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_intensities_are_followed_in_their_order(
    tmp_path_factory: pytest.TempPathFactory, items: list[dict[str, Any]], moved: dict[str, Any], place: int
) -> None:
    """Any chain of normalisations of two channels, with a resampling, resizing or crop anywhere in it, is MONAI's."""
    items = [TURNED, *items[:place], moved, *items[place:]]
    image = np.maximum(noise((9, 12, 8, 2)), 0)  # zeros, too
    image[:2] = 0
    ours, theirs = both(
        tmp_path_factory.mktemp("bundle"), {"preprocessing": steps(*items)}, image, oblique("LPS", (1.1, 0.9, 2.3), 0.2)
    )
    assume(theirs.size > 0)  # MONAI crops an image without foreground to nothing
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


class Net(torch.nn.Module):
    """Three fixed filters: logits of every voxel from its neighbourhood."""

    def __init__(self, classes: int, channels: int = 1, dimensions: int = 3) -> None:
        super().__init__()
        kind = (torch.nn.Conv2d, torch.nn.Conv3d)[dimensions - 2]
        self.filter = kind(channels, classes, 3, padding=1)
        with torch.no_grad():
            weights = np.random.default_rng(3).normal(0, 1, self.filter.weight.shape)
            self.filter.weight.copy_(torch.from_numpy(weights))
            self.filter.bias.copy_(torch.linspace(-0.2, 0.3, classes))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes, *sizes)."""
        logits: torch.Tensor = self.filter(image)
        return logits


def answers(
    folder: Path,
    content: dict[str, Any],
    image: np.ndarray,
    affine: np.ndarray | None = None,
    *,
    classes: int = 3,
    multilabel: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The label map of an image, by our pipeline and by MONAI's transforms and inferer around the same network."""
    inferers = pytest.importorskip("monai.inferers")
    dimensions = image.ndim - 1
    sliced = content["inferer"]["_target_"] == "SliceInferer"
    pipeline = pipeline_of(
        folder, content, channels=image.shape[-1], classes=classes, dimensions=dimensions, multilabel=multilabel
    )
    net = Net(classes, image.shape[-1], dimensions - sliced).eval()
    ours = predict(pipeline, lambda batch: net(torch.from_numpy(batch)).detach().numpy(), image, affine)
    before = of_monai(content["preprocessing"])
    case = before({"image": tensor_of(image, affine)})
    arguments = {name: value for name, value in content["inferer"].items() if name != "_target_"}
    inferer = getattr(inferers, content["inferer"]["_target_"])(**arguments)
    with torch.no_grad():
        case["pred"] = inferer(case["image"][None], net)[0]
    theirs = of_monai(content["postprocessing"], preprocessing=before)(case)["pred"].numpy()
    return ours, np.moveaxis(theirs, 0, -1) if multilabel else theirs[0]


@pytest.mark.parametrize(
    ("before", "inferer", "post", "use"),
    [
        ([TURNED, SPACED, RANGE], WINDOW, [SOFTMAX, INVERT, ARGMAX], {}),
        ([TURNED, SPACED, RANGE], {**WINDOW, "overlap": 0.6}, [INVERT, SOFTMAX, ARGMAX], {}),
        ([TURNED, SPACED, RANGE], WINDOW, [SOFTMAX, NEAREST, ARGMAX], {}),
        ([SPACED, RANGE], WINDOW, [ARGMAX, NEAREST], {}),
        ([TURNED, SPACED, RANGE], WINDOW, [SIGMOID, INVERT, THRESHOLD], {"multilabel": True}),
        ([TURNED, SPACED, RANGE], WINDOW, [SOFTMAX, INVERT, ARGMAX, FILL], {"classes": 2}),
        ([TURNED, SPACED, RANGE, CROP], WINDOW, [SOFTMAX, INVERT, ARGMAX, LAMBDA], {}),
        ([CROP, TURNED, NONZERO, SPACED], WINDOW, [INVERT, SOFTMAX, ARGMAX], {}),
        ([SPACED, NONZERO, SCALED], {**WINDOW, **GAUSSIAN}, [SOFTMAX, ARGMAX, NEAREST], {}),
        ([TURNED, NONZERO], {**WINDOW, "mode": "gaussian", "sigma_scale": 0.2}, [SOFTMAX, ARGMAX, NEAREST], {}),
        ([TURNED, SPACED, SCALED, ZSCORE], WINDOW, [ARGMAX, INVERT, ROUND], {}),
        ([SCALED], SLICES, [SOFTMAX, INVERT, ARGMAX], {}),
        ([TURNED, SCALED], {**SLICES, "spatial_dim": 0, "overlap": 0.5}, [INVERT, SOFTMAX, ARGMAX], {}),
        ([TURNED, ZSCORE], {**WINDOW, "padding_mode": "reflect"}, [SOFTMAX, ARGMAX, INVERT], {}),
        ([RESIZED, RANGE], WHOLE, [SOFTMAX, INVERT, ARGMAX], {}),
        ([{**RESIZED, "align_corners": True}, RANGE], WHOLE, [SOFTMAX, INVERT, ARGMAX], {}),
        ([{**RESIZED, "mode": "area"}, RANGE], WHOLE, [SOFTMAX, INVERT, ARGMAX], {}),
        ([RESIZED, RANGE], WHOLE, [SOFTMAX, ARGMAX, NEAREST], {}),
    ],
)
@pytest.mark.parametrize("sizes", [(13, 22, 9), (6, 7, 19)])
def test_the_answer_is_that_of_monai(
    tmp_path: Path,
    before: list[dict[str, Any]],
    inferer: dict[str, Any],
    post: list[dict[str, Any]],
    use: dict[str, Any],
    sizes: tuple[int, int, int],
) -> None:
    """From the image to the label map on its own grid, every voxel is as MONAI's bundle gives it.

    The windows reach the edges and are larger than some images; the orientation is flipped, the spacing uneven.
    """
    content = {"preprocessing": steps(*before), "inferer": inferer, "postprocessing": after(*post)}
    affine = oblique("PLS", (0.83, 1.21, 2.77), 0.2)
    ours, theirs = answers(tmp_path, content, noise((*sizes, 1)), affine, **use)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("reverse", [{}, {"reader": "PILReader", "reverse_indexing": False}, {"reader": "ITKReader"}])
def test_a_picture_lies_as_monai_loads_it(tmp_path: Path, reverse: dict[str, Any]) -> None:
    """The network sees columns and rows of a picture where LoadImage gives them, and the answer is the picture's."""
    picture = np.clip(noise((13, 22, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    load = {"_target_": "LoadImaged", **reverse}
    first = {"_target_": "EnsureChannelFirstd", "channel_dim": -1}
    shaped = {"_target_": "Resized", "spatial_size": [16, 5], "mode": "bilinear"}
    content = {"preprocessing": steps(load, first, shaped), "postprocessing": after(ARGMAX)}
    pipeline = pipeline_of(tmp_path, content, channels=3, pictures=True)
    ours, tiling = pipeline.prepare(picture)
    reading = {**content["preprocessing"], "transforms": content["preprocessing"]["transforms"]}
    if reverse.get("reader") == "ITKReader":  # what it gives is what the default gives; itk is not installed
        reading = steps({"_target_": "LoadImaged"}, first, shaped)
    theirs = of_monai(reading)({"image": str(tmp_path / "picture.png")})["image"]
    np.testing.assert_allclose(ours[0], np.asarray(theirs), atol=1e-3)
    marked = np.zeros((1, 2, 16, 5), np.float32)
    marked[0, 1, :8] = 1.0  # the first half along the network's first axis
    answer = pipeline.finish(marked, tiling)
    half = answer[:, :11] if pipeline.transposed else answer[:6]
    assert answer.shape == (13, 22) and half.mean() > 0.9 and answer.mean() < 0.6


def test_many_values_far_from_zero_are_normalised_as_by_monai(tmp_path: Path) -> None:
    """Mean and deviation of a large image of several channels are not lost in the sums."""
    content = {"preprocessing": steps({**ZSCORE, "channel_wise": True})}
    ours, theirs = both(tmp_path, content, noise((500, 400, 3)) + 3000)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
