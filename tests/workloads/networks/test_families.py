"""The small networks that `autoopt matrix` tries: loaded by name in child processes, the same weights each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import WorkloadError
from autoopt.workloads.loading import load_workload
from autoopt.workloads.networks.families import NETS, SOURCE


def test_each_network_is_a_workload(tmp_path: Path) -> None:
    """Every network loads by its name, with images of the size that it takes and references that fit its task."""
    for name, net in NETS.items():
        workload = load_workload(SOURCE, None, tmp_path, {"net": name})
        assert workload.pipeline.input_shape == (1, *net.shape) and workload.demo
        sample = workload.splits.val[0].read()
        assert sample.image.shape == (*net.shape[1:], net.shape[0])
        assert sample.reference.shape == (net.shape[1:] if net.dense else ())
    with pytest.raises(WorkloadError, match="failed with KeyError"):
        load_workload(SOURCE, None, tmp_path, {"net": "GPT"})


def test_weights_are_the_same_each_time(tmp_path: Path) -> None:
    """Building a network twice gives equal weights and leaves the state of torch's random numbers alone."""
    torch = pytest.importorskip("torch")
    workload = load_workload(SOURCE, None, tmp_path, {"net": "LinearUNet"})
    assert workload.build is not None
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second = (workload.build().state_dict() for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert all(np.array_equal(first[name].numpy(), second[name].numpy()) for name in first)
