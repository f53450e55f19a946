"""A builder of somebody's code: which names are one, and what of its file an artifact depends on."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

from autoopt.errors import WorkloadError
from autoopt.inference.postprocess import logits_of
from autoopt.nets.weights import load_weights
from autoopt.testing import workload_problems
from autoopt.workloads.loading import load_workload
from autoopt.workloads.models.checkpoint import matches, with_logits
from tests.workloads.models.bundles import TASK, squares


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


def test_a_checkpoint_with_a_builder(tmp_path: Path) -> None:
    """A function that builds the network and a state dict are a workload; what it builds is checked."""
    (tmp_path / "nets.py").write_text(
        "import torch\n\ndef build():\n    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1))\n\n"
        "def wrong():\n    return 3\n"
    )
    data = squares(tmp_path / "squares")
    workload = load_workload(f"model:{tmp_path / 'nets.py'}:build", data, tmp_path, {**TASK, "name": "mine"})
    assert workload.name == "mine" and workload_problems(workload) == []
    assert workload.build is not None
    torch.save(workload.build().state_dict(), tmp_path / "net.pt")
    load_weights(workload.build(), tmp_path / "net.pt")
    wrong = load_workload(f"model:{tmp_path / 'nets.py'}:wrong", data, tmp_path, TASK)
    assert wrong.build is not None
    with pytest.raises(WorkloadError, match=r"must return a torch\.nn\.Module, it returned int"):
        wrong.build()


@pytest.mark.parametrize(("last", "activation"), [("Softmax(1)", "softmax"), ("Sigmoid()", "sigmoid")])
def test_probabilities_of_a_builder_become_logits(tmp_path: Path, last: str, activation: str) -> None:
    """With the option a network that ends with softmax or sigmoid answers with logits, also in training; weights keep
    their names."""
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        self.conv, self.last = nn.Conv2d(1, 2, 1), nn.{last}\n\n    def forward(self, image):\n"
        "        logits = self.conv(image)\n        return logits if self.training else self.last(logits)\n"
    )
    source, data = f"model:{tmp_path / 'nets.py'}:Net", squares(tmp_path / "squares")
    workload = load_workload(source, data, tmp_path, {**TASK, "output": "probabilities"})
    assert workload.build is not None and workload.pipeline.output == "logits"
    net, image = workload.build(), torch.randn(2, 1, 8, 8)
    assert set(net.state_dict()) == {"conv.weight", "conv.bias"}
    for training in (False, True):
        net.train(training)
        probabilities = net.last(net.conv(image)).detach().numpy()
        expected = logits_of(probabilities, "softmax")
        np.testing.assert_allclose(net(image).detach().numpy(), expected, atol=1e-5)
    other = with_logits(torch.nn.Sequential(torch.nn.Sigmoid()), activation)
    values = torch.tensor([[0.0, 0.5], [0.3, -1.0], [1.0, 2.0]])
    given = torch.sigmoid(values).numpy()
    np.testing.assert_allclose(other(values).numpy(), logits_of(given, activation), atol=1e-5)


def test_labels_of_a_builder_are_refused(tmp_path: Path) -> None:
    """A network that decides by itself cannot be trained, nor its tiles joined."""
    (tmp_path / "nets.py").write_text("from torch import nn\n\ndef build():\n    return nn.Conv2d(1, 2, 1)\n")
    source, data = f"model:{tmp_path / 'nets.py'}:build", squares(tmp_path / "squares")
    with pytest.raises(WorkloadError, match="must build a network that answers with logits or probabilities"):
        load_workload(source, data, tmp_path, {**TASK, "output": "labels"})


def test_the_probability_of_one_class_has_that_of_the_other_beside_it() -> None:
    """A network that ends with one sigmoid answers with the logits of both classes: their softmax is what it said."""
    values = torch.tensor([[0.0], [0.3], [-4.0]])
    answer = with_logits(torch.nn.Sequential(torch.nn.Sigmoid()), "softmax")(values)
    torch.testing.assert_close(answer.softmax(1), torch.cat([1 - values.sigmoid(), values.sigmoid()], dim=1))
