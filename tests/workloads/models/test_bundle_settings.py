"""What the transforms and the inferer of a bundle mean here, against MONAI's own; what has no equal is named.

Covers bundle_settings, bundle_transforms, bundle_objects and bundle_step.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoopt.errors import WorkloadError
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.steps.foreground import CropForeground
from autoopt.inference.steps.own_range import ZScore
from autoopt.inference.steps.resample import Resize
from autoopt.workloads.loading import load_workload
from autoopt.workloads.models.bundle_config import read_config
from autoopt.workloads.models.bundle_settings import read_settings
from tests.workloads.models.bundles import RANGE, TASK, bundle, fields_of, settings_of, squares, steps, write

transforms = pytest.importorskip("monai.transforms")

SPACED = {"_target_": "Spacingd", "pixdim": [1, 1, 2]}
TURNED = {"_target_": "Orientationd", "axcodes": "RAS"}
RESIZED = {"_target_": "Resized", "spatial_size": [4, 4, 4]}
PERCENTILES = {
    "_target_": "ScaleIntensityRangePercentilesd",
    "lower": 1,
    "upper": 99,
    "b_min": 0,
    "b_max": 1,
    "clip": True,
}
ARGMAX = {"_target_": "AsDiscreted", "argmax": True}
THRESHOLD = {"_target_": "AsDiscreted", "threshold": 0.5}
SIGMOID = {"_target_": "Activationsd", "sigmoid": True}
INVERT = {"_target_": "Invertd", "transform": "@preprocessing"}
LARGEST = {"_target_": "KeepLargestConnectedComponentd"}
FILL = {"_target_": "FillHolesd"}


@pytest.fixture(name="squares")
def squares_fixture(tmp_path: Path) -> Path:
    """Eight grey images of 32 x 32 with a bright square, as npz files."""
    return squares(tmp_path / "data")


@pytest.mark.parametrize(
    ("items", "channels"),
    [
        ([RANGE], 1),
        ([{**RANGE, "clip": True}], 1),
        ([{**RANGE, "clip": True}, {"_target_": "NormalizeIntensityd", "subtrahend": 0.3, "divisor": 0.2}], 1),
        (
            [
                {
                    "_target_": "NormalizeIntensityd",
                    "subtrahend": [10.0, 20.0],
                    "divisor": [30.0, 40.0],
                    "channel_wise": True,
                }
            ],
            2,
        ),
        ([{"_target_": "NormalizeIntensityd", "channel_wise": True}], 2),
        ([{**RANGE, "clip": True}, {"_target_": "monai.transforms.NormalizeIntensityD"}], 1),
        ([{"_target_": "ScaleIntensityd", "minv": -1.0, "maxv": 1.0}], 1),
        (
            [
                {
                    "_target_": "ScaleIntensityRangePercentilesd",
                    "lower": 5,
                    "upper": 90,
                    "b_min": 0.0,
                    "b_max": 2.0,
                    "clip": True,
                    "channel_wise": True,
                },
                {**RANGE, "a_min": 0.0, "a_max": 1.0},
            ],
            2,
        ),
    ],
)
def test_intensities_come_out_as_monai_makes_them(tmp_path: Path, items: list[dict[str, Any]], channels: int) -> None:
    """What a chain of intensity transforms makes of an image, our pipeline makes of it too."""
    fields = fields_of(tmp_path, channels, preprocessing=steps(*items))
    pipeline = Pipeline("segmentation", 2, channels, (24, 20), **{"overlap": 0.25, **fields})
    image = np.random.default_rng(1).normal(40, 60, (24, 20, channels)).astype(np.float32)
    ours, _ = pipeline.prepare(image)
    chain = []
    for item in items:
        kind = getattr(transforms, item["_target_"].rpartition(".")[2])
        chain.append(kind(keys="image", **{name: value for name, value in item.items() if name != "_target_"}))
    theirs = transforms.Compose(chain)({"image": torch.from_numpy(np.moveaxis(image, -1, 0))})["image"]
    np.testing.assert_allclose(ours[0], np.asarray(theirs), rtol=1e-4, atol=1e-4)


def test_geometry_and_answers_are_read(tmp_path: Path) -> None:
    """Orientation, spacing, window, activation, threshold and clean-up become fields, through references and macros."""
    fields = fields_of(
        tmp_path,
        dimensions=3,
        size=[32, 32, 16],
        pixdim=[1.5, 1.5, 2],
        defaults={
            "inferer": {"_target_": "SlidingWindowInferer", "roi_size": "@size", "overlap": 0.625, "sw_batch_size": 4}
        },
        inferer="%defaults#inferer",
        preprocessing=steps(
            {"_target_": "LoadImaged", "keys": ["scan", "label"]},
            {"_target_": "Orientationd", "keys": "scan", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": ["scan", "label"], "pixdim": "@pixdim", "mode": ["bilinear", "nearest"]},
            {"_target_": "CropForegroundd", "keys": "label"},
            {"_target_": "RandFlipd", "keys": "scan", "_disabled_": True},
        ),
        postprocessing={
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": ["pred", "label"], "sigmoid": [True, False]},
                {
                    "_target_": "Invertd",
                    "keys": "pred",
                    "transform": "@preprocessing",
                    "device": "$torch.device('cuda')",
                },
                {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.4},
                {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1]},
                {"_target_": "FillHolesd", "keys": "pred"},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "$@bundle_root + '/eval'"},
            ],
        },
    )
    wanted = {
        "orientation": "RAS",
        "spacing_mm": (1.5, 1.5, 2.0),
        "overlap": 0.625,
        "activation": "sigmoid",
        "threshold": 0.4,
        "fill_holes": True,
        "largest_component": True,
        "connectivity": 3,
        "spacing_grid": "first_voxel",
        "interpolation": "linear",
        "restore": "labels",
        "windows": "stride",
        "padding": "zero",
    }
    assert {name: fields[name] for name in wanted} == wanted
    assert "clip" not in fields and fields["mean"] == (0.0,) and fields["std"] == (1.0,)


def test_everything_without_an_equal_is_named_at_once_and_may_be_dropped(tmp_path: Path) -> None:
    """All that cannot be followed is one error with places; --option ignore lets it pass by those names."""
    content = {
        "preprocessing": steps(
            {"_target_": "RandFlipd"},
            {"_target_": "CropForegroundd", "source_key": "label"},
            {"_target_": "NormalizeIntensityd", "channel_wise": True},
            {"_target_": "Resized", "spatial_size": [16, 16], "anti_aliasing": True},
            {"_target_": "scripts.Own"},
        ),
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16], "mode": "other"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Lambdad", "keys": "pred", "func": "$f"}],
        },
    }
    with pytest.raises(WorkloadError) as caught:
        fields_of(tmp_path, **content)
    text = str(caught.value)
    for name in (
        "preprocessing.transforms.0: RandFlipd",
        "source_key=label",
        "Resize.anti_aliasing",
        "scripts.Own",
        "mode=other",
        "postprocessing.transforms.0: Lambdad",
    ):
        assert name in text
    assert len(caught.value.problems) == 6
    assert all("inference.json" in problem for problem in caught.value.problems)
    drop = (
        "RandFlipd",
        "CropForegroundd.source_key",
        "Resize.anti_aliasing",
        "Own",
        "SlidingWindowInferer.mode",
        "Lambda",
    )
    dropped = fields_of(tmp_path, drop=drop, **content)["steps"]
    assert dropped == (CropForeground(above=0.0, margin=(0, 0), outside="zero"), ZScore(), Resize((16, 16), "area"))


@pytest.mark.parametrize(
    ("before", "match"),
    [
        ([SPACED, TURNED], "Orientationd with order=late must come before"),
        ([SPACED, RESIZED], "must be the only transform that resamples"),
        ([{**SPACED, "scale_extent": True}], "scale_extent=True has no equal"),
        ([{**SPACED, "diagonal": True}], "diagonal=True"),
        ([{**SPACED, "mode": "nearest"}], "mode=nearest"),
        ([{**SPACED, "padding_mode": "zeros"}], "padding_mode=zeros"),
        ([{**SPACED, "pixdim": [1, 1, -1]}], "pixdim must be numbers above 0"),
        ([{**SPACED, "dtype": "$torch.float16"}], "dtype=.*float16"),
        ([{**SPACED, "min_pixdim": [1, 1, 1]}], "min_pixdim="),
        ([{**SPACED, "lazy": True}], "lazy=True"),
        ([{"_target_": "EnsureTyped", "track_meta": False}, SPACED], "before the affine is dropped"),
        ([{**RESIZED, "spatial_size": [4, 4, -1]}], "spatial_size must be numbers above 0"),
        ([{**RESIZED, "anti_aliasing": True}], "anti_aliasing=True"),
        ([{**RESIZED, "size_mode": "longest"}], "size_mode=longest"),
        ([{**RANGE, "b_min": 1.0, "b_max": 1.0, "clip": True}], "b_max must be above b_min"),
        ([{**RANGE, "b_min": None}], "b_min and b_max must be given"),
        ([{"_target_": "NormalizeIntensityd", "subtrahend": 0.5, "divisor": 0.0}], "divisor must not be 0"),
        ([{**PERCENTILES, "b_max": None}], "b_min and b_max must be given"),
        ([{"_target_": "ScaleIntensityd", "factor": 0.1}], "factor=0.1"),
        ([{"_target_": "CropForegroundd", "source_key": "label"}], "source_key=label must be the image's own key"),
        ([{"_target_": "CropForegroundd", "source_key": "image", "margin": 2}], "allow_smaller must be true"),
        ([{"_target_": "CropForegroundd", "select_fn": "$lambda x: x < 0"}], "select_fn=.*has no equal"),
        ([{"_target_": "CastToTyped", "dtype": "uint8"}], "dtype=uint8"),
        ([{"_target_": "LoadImaged", "dtype": None}], "dtype=None"),
        ([{"_target_": "LoadImaged", "reader": "WSIReader"}], "reader=WSIReader"),
        ([{"_target_": "LoadImaged", "reverse_indexing": False}], "only with the PILReader"),
        ([{"_target_": "EnsureChannelFirstd", "channel_dim": 0}], "channel_dim=0"),
    ],
)
def test_what_would_give_other_images_is_refused(tmp_path: Path, before: list[dict[str, Any]], match: str) -> None:
    """Orders, modes, types and readers that would silently give other numbers are named instead."""
    with pytest.raises(WorkloadError, match=match):
        fields_of(tmp_path, dimensions=3, preprocessing=steps(*before))


@pytest.mark.parametrize(
    ("post", "use", "match"),
    [
        (
            [SIGMOID, THRESHOLD, {**INVERT, "nearest_interp": False}],
            {},
            "nearest_interp=False must be true after a thr",
        ),
        ([INVERT, INVERT], {}, "Invertd cannot be followed: must come only once"),
        ([ARGMAX, LARGEST, INVERT, FILL], {}, "clean-ups come all before Invertd or all after it"),
        ([INVERT, LARGEST, ARGMAX], {}, "order=early must come after the decision"),
        ([INVERT, ARGMAX, FILL, LARGEST], {}, "must come before FillHolesd"),
        ([INVERT, ARGMAX, {**LARGEST, "connectivity": 1}, FILL], {}, "must be the same for all clean-ups"),
        ([INVERT, ARGMAX, FILL], {"classes": 3}, "holes that other labels are in"),
        ([{**ARGMAX, "dim": 1}], {}, "dim=1"),
        ([ARGMAX, {"_target_": "AsDiscreted", "threshold": 0.5}], {}, "must decide only once"),
        ([SIGMOID, {**SIGMOID, "sigmoid": False, "softmax": True}], {}, "must come once, and before the decision"),
        ([SIGMOID, {**INVERT, "nearest_interp": False}, ARGMAX], {}, "between a sigmoid and an argmax"),
        ([SIGMOID, ARGMAX], {"task": "classification"}, "must not follow a sigmoid"),
        ([SIGMOID, INVERT, THRESHOLD, LARGEST], {"multilabel": True}, "leaves out the first label"),
        ([SIGMOID, {"_target_": "AsDiscreted", "threshold": True}], {}, "threshold must be one number"),
    ],
)
def test_what_would_give_other_answers_is_refused(
    tmp_path: Path, post: list[dict[str, Any]], use: dict[str, Any], match: str
) -> None:
    """Decisions, clean-ups and their order, of which ours would give other labels, are named instead."""
    done = {"transforms": [{"keys": "pred", **item} for item in post]}
    with pytest.raises(WorkloadError, match=match):
        settings_of(tmp_path, {"preprocessing": steps(SPACED), "postprocessing": done}, dimensions=3, **use)


@pytest.mark.parametrize(
    ("window", "match"),
    [
        ({"padding_mode": "circular"}, "padding_mode=circular"),
        ({"mode": "gaussian", "sigma_scale": [0.1, 0.2]}, "sigma_scale=.*must be the same for all axes"),
        ({"cval": -1.0}, "cval=-1.0"),
        ({"overlap": [0.25, 0.5]}, r"overlap=\[0.25, 0.5\] must be the same for all axes"),
    ],
)
def test_windows_that_would_differ_are_refused(tmp_path: Path, window: dict[str, Any], match: str) -> None:
    """What surrounds small images and how windows overlap is followed or named, wherever the inferer stands."""
    inferer = {"_target_": "SlidingWindowInferer", "roi_size": [16, 16], **window}
    with pytest.raises(WorkloadError, match=match):
        fields_of(tmp_path, evaluator={"inferer": inferer})


@pytest.mark.parametrize("ready", ["$monai.transforms.Compose({})", "$list({})"])
def test_transforms_that_a_trusted_bundle_made_are_read(tmp_path: Path, ready: str) -> None:
    """A Compose or list that an expression made means what its transforms say; one that is not MONAI's is refused."""
    made = (
        "[monai.transforms.LoadImaged(['image']), monai.transforms.Orientationd('image', axcodes='RAS'), "
        "monai.transforms.Spacingd(['image', 'label'], pixdim=(1, 1, 2), mode=('bilinear', 'nearest')), "
        "monai.transforms.ScaleIntensityRanged('image', -50.0, 150.0, -1.0, 1.0, clip=True), "
        "monai.transforms.NormalizeIntensityd('image', nonzero=True)]"
    )
    written = steps(
        {"_target_": "LoadImaged"},
        TURNED,
        SPACED,
        {**RANGE, "clip": True},
        {"_target_": "NormalizeIntensityd", "nonzero": True},
    )
    wanted = fields_of(tmp_path / "written", dimensions=3, preprocessing=written)
    config = read_config(write(tmp_path / "made", preprocessing=ready.format(made)), trusted=True)
    assert read_settings(config, channels=1, classes=2, dimensions=3).fields == wanted
    other = read_config(write(tmp_path / "other", preprocessing=ready.format("[print]")), trusted=True)
    with pytest.raises(WorkloadError, match="must be a transform with _target_"):
        read_settings(other, channels=1, classes=2, dimensions=3)


def test_what_only_concerns_the_saved_file_is_left_out(tmp_path: Path) -> None:
    """After the decision a Lambdad is left out and said, savers too; before it a Lambdad is refused by its place."""
    ending = [
        {"_target_": "ToNumpyd"},
        {"_target_": "Lambdad", "func": "$lambda x: x[1:]"},
        {"_target_": "SaveImaged", "output_dir": "$@bundle_root + '/eval'"},
        {"_target_": "SaveClassificationd", "meta_keys": "$@image_key + '_meta_dict'"},
    ]
    for order, refused in (([ARGMAX, *ending], False), ([*ending, ARGMAX], True)):
        content = {"postprocessing": {"transforms": [{"keys": "pred", **item} for item in order]}}
        if refused:
            with pytest.raises(WorkloadError, match=r"postprocessing\.transforms\.1: Lambdad has no equal"):
                settings_of(tmp_path, content)
        else:
            (remark,) = settings_of(tmp_path, content).remarks
            assert remark.startswith("postprocessing.transforms.2: Lambdad is left out")


def test_labels_may_be_cleaned_and_mixed_as_the_bundle_says(tmp_path: Path) -> None:
    """A clean-up before Invertd is done on the network's grid; labels that it mixes are rounded, which is said."""
    early = {
        "transforms": [{"keys": "pred", **item} for item in (ARGMAX, LARGEST, {**INVERT, "nearest_interp": False})]
    }
    content = {"preprocessing": steps(SPACED), "postprocessing": early}
    read = settings_of(tmp_path, content, dimensions=3, classes=3)
    assert (read.fields["restore"], read.fields["cleaned_on"]) == ("rounded", "network")
    assert "mixed and then rounded" in read.remarks[0]
    pipeline = Pipeline("segmentation", 3, 1, (6, 6, 6), **{"overlap": 0.25, **read.fields})
    image, affine = np.zeros((6, 6, 4, 1), np.float32), np.diag([1.0, 1.0, 3.0, 1.0])
    _, tiling = pipeline.prepare(image, affine)
    logits = np.zeros((1, 3, *pipeline.tile), np.float32)
    assert tiling.spatial == (6, 6, 6) and tiling.count == 1
    logits[0, 2, :3, :3, :2] = logits[0, 2, 5, 5, 5] = 1  # a large part and a single voxel of label 2
    answer = pipeline.finish(logits, tiling)
    assert not answer[5:].any() and set(np.unique(answer)) == {0, 1, 2}  # between 2 and 0 lies 1
    assert set(np.unique(replace(pipeline, restore="labels").finish(logits, tiling))) == {0, 2}


def test_pictures_and_arrays_do_not_mix(tmp_path: Path) -> None:
    """MONAI swaps the axes of pictures and not of arrays, so a folder of both is refused."""
    content = {"preprocessing": steps({"_target_": "LoadImaged"})}
    assert settings_of(tmp_path, content, pictures=True).fields["transposed"]
    assert "transposed" not in settings_of(tmp_path, content, pictures=False).fields
    with pytest.raises(WorkloadError, match="must be pictures"):
        settings_of(tmp_path, content, pictures=None)
    with pytest.raises(WorkloadError, match="a Compose with lazy=True has no equal"):
        settings_of(tmp_path, {"preprocessing": {**content["preprocessing"], "lazy": True}})


@pytest.mark.parametrize(
    ("section", "match"),
    [
        (
            {"preprocessing": {"transforms": [{"_target_": "SpatialPadd", "keys": "image"}]}},
            "SpatialPadd has no equal",
        ),
        ({"preprocessing": {"transforms": [{"_target_": "Lambdad", "func": "$lambda x: x"}]}}, "Lambdad has no equal"),
        (
            {"inferer": {"_target_": "SlidingWindowInferer", "roi_size": "$[16 for _ in (1, 2)]"}},
            r"inferer\.roi_size is the Python",
        ),
        ({"inferer": {"_target_": "SliceInferer", "roi_size": [16, 16]}}, "of images of 3 dimensions"),
        ({"network_def": {"_target_": "UNet", "in_channels": "@nothing"}}, "refers to '@nothing'"),
    ],
)
def test_what_cannot_be_mapped_is_named(tmp_path: Path, squares: Path, section: dict[str, Any], match: str) -> None:
    """A transform, inferer or reference that has no meaning here is refused by its name, never left out."""
    folder = bundle(tmp_path / "bundle", **section)
    with pytest.raises(WorkloadError, match=match):
        load_workload(f"model:{folder}", squares, tmp_path, TASK)
