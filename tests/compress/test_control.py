"""The control: one layer in the place of the network, trained within a limit of time."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from autoopt.compress import control
from autoopt.measure.host import current_host
from autoopt.workloads.contract import Case, Sample, Workload
from autoopt.workloads.networks.families import workload as family
from tests import tiny

torch = pytest.importorskip("torch")

from autoopt.nets import one_layer  # noqa: E402

if TYPE_CHECKING:
    from autoopt.compress.base import Changed


def trained(workload: Workload, teacher: torch.nn.Module, steps: int, seconds: float | None = None) -> Changed:
    asked = {"network": "one-layer", "steps": steps, "batch": 2, "seconds": seconds, "training_precision": "f32"}
    settings = control.canonical(asked, {"name": "openvino"}, current_host())
    assert settings is not None
    (part,) = control.parts(settings)
    assert workload.build is not None
    return control.change(part, workload.build().eval(), teacher.eval().requires_grad_(False), workload)


def numbers(data: None = None) -> Workload:
    """The tiny images with the mean of each channel as what is to be answered."""

    def case(one: Case) -> Case:
        image = one.read().image
        return replace(one, read=lambda: Sample(image, image.mean((0, 1)).astype(np.float32)))

    small = tiny.workload()
    splits = replace(small.splits, train=tuple(map(case, small.splits.train)))
    pipeline = replace(small.pipeline, task="regression", classes=3, fit="resize", activation="identity")
    return replace(small, task="regression", build=_means, splits=splits, pipeline=pipeline, labels=("a", "b", "c"))


def _means() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = (torch.nn.Conv2d(3, 96, 1), torch.nn.ReLU(), torch.nn.Conv2d(96, 3, 1))
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())


@pytest.mark.parametrize("name", ["series", "plane", "volume", "numbers"])
def test_every_kind_of_network_has_one(name: str) -> None:
    """Of series, planes, volumes and numbers one layer learns something of what the network answers."""
    known = {"series": "UNet 1D", "plane": "UNet", "volume": "UNet 3D"}
    workload = numbers() if name == "numbers" else family(None, known[name])
    assert workload.build is not None
    changed = trained(workload, workload.build(), 8)
    report = changed.report["recovery"]
    assert one_layer.is_one_layer(changed.model) and report["loss_after"] < report["loss_before"]
    assert changed.report["parameters"] < changed.report["parameters_before"]


def test_a_slow_network_is_not_asked_for_longer_than_there_is_time() -> None:
    """Steps are left out where the answers of the network take long, and the training ends with what it has."""
    small = tiny.workload()

    class Slow(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tiny.build()

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            time.sleep(0.02)
            answer: torch.Tensor = self.net(batch)
            return answer

    report = trained(small, Slow(), 2000, 1.0).report["recovery"]
    assert 0 < report["steps"] < report["of_steps"] == 2000
