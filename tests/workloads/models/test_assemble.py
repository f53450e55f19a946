"""What options, a data folder and a model come to, and where they do not agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoopt.core.configuration import Scalar
from autoopt.errors import WorkloadError
from autoopt.workloads.contract import Splits
from autoopt.workloads.data.dataset import Dataset
from autoopt.workloads.loading import load_workload
from autoopt.workloads.models.assemble import Shape, pipeline_of, split_names, task_of, workload_of
from tests.workloads.models.test_checkpoint import data_folder

SEGMENTATION: dict[str, Scalar] = {"task": "segmentation"}


def dataset(**changes: Any) -> Dataset:
    """Grey 2D images of 8 bits with two labels and sizes that differ."""
    fields: dict[str, Any] = {
        "splits": Splits((), (), (), ()),
        "labels": ("background", "lung"),
        "channels": 1,
        "dimensions": 2,
        "digest": "data",
        "layout": "",
        "multilabel": False,
        "value_range": 255.0,
        "sizes": ((32, 32), (48, 32)),
        "has_affine": False,
        "pictures": True,
        **changes,
    }
    return Dataset(**fields)


def test_defaults_come_from_the_data_and_the_model() -> None:
    """The model says the size of a call, the data how pixels are scaled; the task says what is measured."""
    pipeline = pipeline_of(dataset(), Shape(1, 2, (16, 16)), SEGMENTATION, "net")
    assert (pipeline.tile, pipeline.scale, pipeline.fit, pipeline.activation) == ((16, 16), 255.0, "tile", "softmax")
    workload = workload_of(dataset(), pipeline, SEGMENTATION, "net", build=None, graph=Path("net.onnx"))
    assert workload.metrics == ("dice_foreground", "iou_foreground") and workload.name == "net"
    named = workload_of(
        dataset(), pipeline, {**SEGMENTATION, "metrics": "hd95_mm, dice_lung", "name": "x"}, "net", build=None
    )
    assert named.metrics == ("hd95_mm", "dice_lung") and named.name == "x"


def test_the_size_of_a_call() -> None:
    """An option counts where the model leaves a size open; images of one size need none; else it is asked for."""
    free = Shape(1, 2, (None, 32))
    assert pipeline_of(dataset(), free, {**SEGMENTATION, "tile": "64x32"}, "net").tile == (64, 32)
    assert pipeline_of(dataset(sizes=((40, 32),)), free, SEGMENTATION, "net").tile == (40, 32)
    with pytest.raises(WorkloadError, match=r"several \(32x32, 48x32\): give --option tile=HxW"):
        pipeline_of(dataset(), free, SEGMENTATION, "net")
    with pytest.raises(WorkloadError, match="tile=64x64 does not fit net, which takes anyx32"):
        pipeline_of(dataset(), free, {**SEGMENTATION, "tile": "64x64"}, "net")


def test_everything_that_does_not_agree_comes_together() -> None:
    """Channels, classes, activation and dimensions are all compared before anything is said."""
    with pytest.raises(WorkloadError) as caught:
        pipeline_of(dataset(multilabel=True), Shape(3, 5, (8, 8, 8)), {**SEGMENTATION, "activation": "softmax"}, "net")
    text = str(caught.value)
    assert "takes 3 channel(s), the images have 1" in text and "answers 5 classes, the data have 2" in text
    assert "any number of labels per place" in text and "takes 3D images, the data are 2D" in text


def test_turning_needs_an_affine() -> None:
    """Orientation and spacing need images that say where they lie."""
    options: dict[str, Scalar] = {**SEGMENTATION, "spacing_mm": "1x1x1", "tile": "8x8x8"}
    with pytest.raises(WorkloadError, match="needs images with an affine"):
        pipeline_of(dataset(dimensions=3), Shape(), options, "net")
    assert pipeline_of(dataset(dimensions=3, has_affine=True), Shape(), options, "net").spacing_mm == (1.0, 1.0, 1.0)


def test_texts_of_options() -> None:
    """Names are separated by commas; a task must be given."""
    assert split_names(" a, b,,c ") == ("a", "b", "c")
    with pytest.raises(WorkloadError, match="needs --task segmentation, classification or regression"):
        task_of({})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"tile": "24"}, "tile=24 does not fit"),
        ({"tile": "24 by 24"}, "must be sizes such as 224x224, got '24 by 24'"),
        ({"mean": "0.1,0.2"}, "mean must be one number or 3, got '0.1,0.2'"),
        ({"std": "0"}, "std above 0"),
        ({"channels": 1}, r"takes 1 channel\(s\), the images have 3"),
        ({"activation": "sigmoid"}, "activation=sigmoid does not fit"),
        ({"spacing_mm": "1x1"}, "spacing_mm must have one size above 0 per axis"),
        ({"color": "red"}, "has no option 'color'"),
    ],
)
def test_options_that_do_not_work(tmp_path: Path, options: dict[str, str], match: str) -> None:
    """An option that cannot be meant is refused with what it must be."""
    (tmp_path / "nets.py").write_text("def build():\n    return None\n")
    source = f"model:{tmp_path / 'nets.py'}:build"
    with pytest.raises(WorkloadError, match=match):
        load_workload(source, data_folder(tmp_path / "data"), tmp_path, {"task": "classification", **options})
