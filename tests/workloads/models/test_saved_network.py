"""Folders that timm and smp saved a network to."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from autoopt.errors import WorkloadError
from autoopt.nets.weights import load_weights
from autoopt.workloads.loading import load_workload
from autoopt.workloads.models.libraries import FETCHING
from autoopt.workloads.models.saved_network import matches, read_saved
from tests.workloads.models.bundles import TASK, squares
from tests.workloads.models.test_checkpoint import data_folder
from tests.workloads.models.test_named_network import fakes

__all__ = ["fakes"]
TIMM = {
    "architecture": "convnext_tiny",
    "num_classes": 2,
    "label_names": ["dark", "light"],
    "pretrained_cfg": {
        "input_size": [3, 24, 24],
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.2, 0.2],
        "url": "https://x",
        "crop_pct": 0.875,
    },
    "model_args": {"drop_rate": 0.1, "pretrained": True, "checkpoint_path": "/etc/passwd"},
}
SMP = {"_model_class": "Unet", "encoder_name": "mit_b0", "encoder_weights": "imagenet", "in_channels": 1, "classes": 2}


def saved(folder: Path, config: Any, channels: int, file: str = "model.safetensors") -> Path:
    """A folder as the libraries write it, with the weights of the stand-in network."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    weights = {"conv.weight": torch.ones(2, channels, 1, 1), "conv.bias": torch.zeros(2)}
    if file.endswith(".safetensors"):
        save_file(weights, folder / file)
    else:
        torch.save(weights, folder / file)
    return folder


def test_a_folder_of_timm_says_all_of_it(fakes: Path, tmp_path: Path) -> None:
    """Classes, sizes, normalisation and weights are those of the folder; nothing is fetched."""
    folder = saved(tmp_path / "net", TIMM, 3, "pytorch_model.bin")
    assert matches(str(folder)) and not matches(str(tmp_path))
    data = data_folder(tmp_path / "pictures")
    workload = load_workload(f"model:{folder}", data, tmp_path, {"task": "classification"})
    pipeline = workload.pipeline
    assert (workload.labels, pipeline.tile, pipeline.mean) == (("dark", "light"), (24, 24), (0.5, 0.4, 0.3))
    assert workload.build is not None and workload.weights == folder / "pytorch_model.bin"
    net = workload.build()
    load_weights(net, workload.weights)
    assert net(torch.ones(1, 3, 1, 1)).flatten().tolist() == [3, 3]
    (seen,) = sys.modules["timm"].SEEN  # type: ignore[attr-defined]
    assert seen == {"name": "convnext_tiny", "pretrained": False, "drop_rate": 0.1}
    said = workload.remarks[-1]
    assert "divided by 255, with mean 0.5, 0.4, 0.3" in said and "resized whole, linearly, where" in said
    assert said.endswith("config.json says crop_pct 0.875")
    other = load_workload(f"model:{folder}", data, tmp_path, {"task": "classification", "mean": "0.1"})
    assert other.pipeline.mean == (0.1, 0.1, 0.1)


def test_a_folder_of_smp_is_a_segmentation(fakes: Path, tmp_path: Path) -> None:
    """The class and its encoder are built with the arguments of the folder, without the weights of ImageNet."""
    folder = saved(tmp_path / "net", SMP, 1)
    workload = load_workload(f"model:{folder}", squares(tmp_path / "data"), tmp_path, {**TASK, "tile": "32x32"})
    assert workload.build is not None and workload.weights is not None
    load_weights(workload.build(), workload.weights)
    (seen,) = sys.modules["segmentation_models_pytorch"].SEEN  # type: ignore[attr-defined]
    assert seen == {"encoder_name": "mit_b0", "encoder_weights": None}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "must be JSON"),
        ([], "it names neither"),
        ({"model_type": "bert"}, "it names neither"),
        ({**TIMM, "num_classes": "two"}, "whole number of at least 1 as num_classes, it has 'two'"),
        ({**TIMM, "pretrained_cfg": {"mean": "x"}}, "a list of numbers as pretrained_cfg.mean, it has 'x'"),
        ({**TIMM, "model_args": []}, "must have mappings as pretrained_cfg and model_args"),
        ({**SMP, "encoder_name": 1}, "a text as encoder_name, it has 1"),
        ({**SMP, "activation": "sigmoid"}, "must have no activation"),
    ],
)
def test_what_does_not_say_enough_is_refused(tmp_path: Path, config: Any, message: str) -> None:
    """The file and what it has are named."""
    with pytest.raises(WorkloadError, match=message):
        read_saved(saved(tmp_path / "net", config, 1) / "config.json")


def test_nothing_in_a_folder_makes_a_library_fetch(tmp_path: Path) -> None:
    """Arguments that would fetch weights, or read files elsewhere, are left out: the weights are in the folder."""
    fetching = dict.fromkeys(FETCHING, "https://x")
    for config in ({**TIMM, "model_args": fetching}, {**SMP, **fetching}):
        found = read_saved(saved(tmp_path / str(len(config)), config, 1) / "config.json")
        assert not set(found.arguments) & set(FETCHING)
