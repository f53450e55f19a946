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
    """A folder with data/, net.onnx, bundle/, nets.py, net.pt and scores.py, as the page supposes them."""
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
    (tmp_path / "nets.py").write_text("import torch\n\ndef build():\n    return torch.nn.Conv2d(1, 2, 3, padding=1)\n")
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
        ("A metric of your own", -0.05),  # of a checkpoint and the function that builds its network
    ],
)
def test_the_documented_way_works(project: Path, heading: str, best: float) -> None:
    """Each kind of model goes through a whole search with the documented command, to trials that were scored."""
    for words in commands(heading):
        done = run(*words, cwd=project, quick=True)
        assert done.returncode == 0, done.stderr
    result = read_study(f"sqlite:///{project / 'mlruns' / 'study.db'}", None)
    assert len(result.records) == 3
    # Where weights are random, integers may lose more than the limit: scored, but not within it.
    scored = (Status.COMPLETE,) if best else (Status.COMPLETE, Status.INFEASIBLE)
    assert all(record.status in scored for record in result.judged), [(r.status, r.failure) for r in result.judged]
    assert all(record.quality is not None and record.quality.worth >= best for record in result.records)
    labels = [record.label for record in result.records]
    assert ("torch f32" in labels) == (heading != "An ONNX file")
