"""A builder of somebody's code: which names are one, and what of its file an artifact depends on."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import WorkloadError
from autoopt.testing import workload_problems
from autoopt.workloads.loading import load_workload
from autoopt.workloads.models.checkpoint import matches


def data_folder(folder: Path) -> Path:
    """Eight colour images of 24 x 24 of two classes."""
    for name, level in (("dark", 40), ("light", 200)):
        (folder / name).mkdir(parents=True)
        for index in range(8):
            image = np.random.default_rng(index).integers(0, 50, (24, 24, 3)) + level
            _save(folder / name / f"{name}{index}.png", image.astype(np.uint8))
    return folder


def _save(path: Path, image: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(image).save(path)


def test_names_of_functions_are_builders() -> None:
    """A file or module with a function is one; a folder, a file or a path with a colon is not."""
    assert matches("nets.py:build") and matches("my.package.nets:build")
    assert not matches("net.onnx") and not matches("bundle") and not matches("a:b/c") and not matches(":build")


def test_a_classifier_with_options(tmp_path: Path) -> None:
    """Classes come from the folders, the call size from the images or the option, pixels are scaled to 0..1."""
    (tmp_path / "nets.py").write_text(
        "import torch\n\ndef build():\n    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(),\n"
        "        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2))\n"
    )
    data, source = data_folder(tmp_path / "data"), f"model:{tmp_path / 'nets.py'}:build"
    workload = load_workload(source, data, tmp_path, {"task": "classification", "mean": "0.5", "std": "0.2,0.2,0.3"})
    pipeline = workload.pipeline
    assert workload.labels == ("dark", "light") and pipeline.input_shape == (1, 3, 24, 24)
    assert (pipeline.scale, pipeline.mean, pipeline.std) == (255.0, (0.5,) * 3, (0.2, 0.2, 0.3))
    assert pipeline.fit == "resize" and workload.metrics[0] == "accuracy"
    assert workload_problems(workload) == []
    assert workload.build is not None
    assert inspect.getsourcefile(inspect.unwrap(workload.build)) == str(tmp_path / "nets.py")


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
