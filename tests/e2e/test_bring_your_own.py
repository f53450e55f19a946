"""The commands of docs/workloads.md for a model of one's own, run as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from autoopt.core.records import Status
from autoopt.study.storage import read_study
from tests.e2e.helpers import run
from tests.workloads.models.bundles import bundle
from tests.workloads.models.test_onnx_file import onnx_file

torch = pytest.importorskip("torch")

PAGE = Path(__file__).parents[2] / "docs" / "workloads.md"


NETS = """
import torch

def build():
    return torch.nn.Conv2d(1, 2, 3, padding=1)

def series():
    pooled = torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten(), torch.nn.Linear(8, 2)
    return torch.nn.Sequential(torch.nn.Conv1d(3, 8, 3, padding=1), torch.nn.ReLU(), *pooled)

def age():
    pooled = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 1)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), *pooled)
"""


def signals(folder: Path) -> None:
    """Time series of two classes, told by the level of the first feature, and weights that know it."""
    random, labels = np.random.default_rng(0), np.arange(24) % 2
    series = random.normal(size=(24, 3, 64)) + 4 * labels[:, np.newaxis, np.newaxis]
    series = (series * [[1], [10], [100]] + 50).astype(np.float32)
    splits = np.repeat(["train", "calibration", "val", "test"], 6)  # both classes in each
    (folder / "signals").mkdir()
    np.savez(folder / "signals" / "all.npz", series=series, labels=labels, splits=splits)
    weights = {"0.weight": torch.zeros(8, 3, 3), "0.bias": torch.zeros(8), "4.weight": torch.zeros(2, 8)}
    weights["0.weight"][:2, 0, 1] = torch.tensor([1.0, -1.0])  # above and below its mean: each class has a large value
    weights["4.weight"][:, :2] = torch.tensor([[-2.0, 2.0], [2.0, -2.0]])
    torch.save({**weights, "4.bias": torch.zeros(2)}, folder / "series.pt")


def ages(folder: Path) -> None:
    """Images whose brightness is the age in tens of years, of two tiles a patient, and a network that knows it."""
    from PIL import Image

    random, lines = np.random.default_rng(0), ["image,patient,split,age_years,weight_kg"]
    (folder / "ages").mkdir()
    for index in range(24):
        age = 20 + 2.5 * (index // 2)
        pixels = np.clip(2 * age + random.normal(0, 1, (32, 32)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "ages" / f"x{index}.png")
        split = ("train", "val", "test")[index // 2 % 3]
        lines.append(f"x{index}.png,p{index // 2},{split},{age},{60 + index % 7}")
    (folder / "ages" / "cases.csv").write_text("\n".join(lines) + "\n")
    weights = {"0.weight": torch.zeros(4, 1, 3, 3), "0.bias": torch.zeros(4), "4.bias": torch.zeros(1)}
    weights["0.weight"][:, 0, 1, 1] = 1.0
    torch.save({**weights, "4.weight": torch.full((1, 4), 255 / 8)}, folder / "age.pt")


def python_of(heading: str) -> str:
    """The Python below a heading of the page."""
    section = PAGE.read_text().split(f"### {heading}\n", 1)[1].split("\n###", 1)[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]


def commands(heading: str) -> list[list[str]]:
    """The commands below a heading of the page, as words without `autoopt`."""
    section = PAGE.read_text().split(f"### {heading}\n", 1)[1].split("\n###", 1)[0]
    block = re.findall(r"```console\n(.*?)```", section, re.DOTALL)[0]
    return [shlex.split(line.removeprefix("$ autoopt ")) for line in block.splitlines()]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with data/, signals/, ages/, net.onnx, bundle/, nets.py and weights, as the page supposes."""
    data = tmp_path / "data"
    data.mkdir()
    random = np.random.default_rng(0)
    for index in range(10):
        label = np.zeros((32, 32), np.uint8)
        label[4 : 20 + index % 3, 6:22] = 1
        image = (label + random.normal(0, 0.1, label.shape)).astype(np.float32)
        np.savez(data / f"c{index}.npz", image=image[..., np.newaxis], label=label)
    onnx_file(tmp_path / "net.onnx")
    bundle(tmp_path / "bundle")
    (tmp_path / "nets.py").write_text(NETS)
    signals(tmp_path)
    ages(tmp_path)
    (tmp_path / "scores.py").write_text(python_of("A metric of your own"))
    weight = torch.zeros(2, 1, 3, 3)
    weight[:, 0, 1, 1] = torch.tensor([-1.0, 1.0])
    torch.save({"weight": weight, "bias": torch.tensor([0.5, -0.5])}, tmp_path / "net.pt")
    return tmp_path


@pytest.mark.parametrize(
    ("heading", "best"),
    [
        ("A Python file", 0.8),
        ("An ONNX file", 0.95),
        ("A MONAI bundle", 0.0),  # its weights are random
        ("Regression", -10.0),  # an error; integers are off by some years where a range is missing from calibration
        ("Time series", 0.0),  # a checkpoint and a builder; the primary metric is one's own, an error, at best 0
    ],
)
def test_the_documented_way_works(project: Path, heading: str, best: float) -> None:
    """Each kind of model goes through a whole search with the documented command, to trials that were scored."""
    for words in commands(heading):
        done = run(*words, cwd=project, quick=True)
        assert done.returncode == 0, done.stderr
    result = read_study(f"sqlite:///{project / 'mlruns' / 'study.db'}", None)
    assert len(result.records) == 3
    # Where weights are random or channels few, integers may lose more than the limit: scored, but not within it.
    scored = (Status.COMPLETE,) if best > 0 else (Status.COMPLETE, Status.INFEASIBLE)
    assert all(record.status in scored for record in result.judged), [(r.status, r.failure) for r in result.judged]
    assert all(record.quality is not None and record.quality.worth >= best for record in result.records)
    labels = [record.label for record in result.records]
    assert ("torch f32" in labels) == (heading != "An ONNX file")
