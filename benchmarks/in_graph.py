"""What it saves to normalise and decide inside the graph: one net three ways, side by side, from pixels to answer.

    python -m benchmarks.in_graph [--processes 4] [--home DIR] [--json FILE]

The nets are that of the histo demo and a U-Net of a tenth of its width with random weights, in OpenVINO and ONNX
Runtime, in FP32 and INT8, with all cores. A ratio is that of p25 times of processes that took turns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoopt.compress import quantize
from autoopt.compress.maker import Maker
from autoopt.core import stats
from autoopt.core.configuration import RuntimeSettings
from autoopt.core.measurement import Measurement, joined
from autoopt.core.store import Store
from autoopt.inference.pipeline_settings import IN_GRAPH
from autoopt.inference.runtimes import runtime
from autoopt.measure.head_to_head import measure_together
from autoopt.measure.pack import pack_cases
from autoopt.measure.subject import Subject
from autoopt.measure.target import LocalTarget
from autoopt.measure.timing import MeasuringPlan
from autoopt.workloads import histo
from autoopt.workloads.contract import Workload
from autoopt.workloads.loading import load_workload

SMALL = (8, 8, 16, 16, 32, 8)
"""Channels of the small U-Net, from the first to the last block."""
PLAN = MeasuringPlan(turn_s=0.1, rounds=12, most_rounds=12, max_s=600.0)
KINDS = (("openvino", False), ("openvino", True), ("onnxruntime", False))
"""Runtime, and whether it is quantized."""


def build_small() -> Any:
    """The small U-Net with fresh weights."""
    from monai.networks.nets import BasicUNet

    return BasicUNet(spatial_dims=2, in_channels=3, out_channels=2, features=SMALL, norm="batch")


def small(data: Path) -> Workload:
    """The histo workload with the small net."""
    return replace(histo.workload(data), name="histo-small", build=build_small)


def main() -> None:
    """Make, measure and print every net in every kind."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--processes", type=int, default=4)
    arguments.add_argument("--home", type=Path)
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="autoopt-") as folder:
        home = given.home or Path(folder)
        for workload, weights in _workloads(home):
            for row in _measured(workload, weights, home, given.processes):
                rows.append(row)
                print("{net}  {kind}  {in_graph:5}  {p25_ms:7.3f} ms  {ratio:.3f} +- {error:.3f} of none".format(**row))
    if given.json is not None:
        given.json.write_text(json.dumps({"host": LocalTarget().host.fingerprint, "rows": rows}, indent=1))


def _workloads(home: Path) -> Iterator[tuple[Workload, Path]]:
    import torch
    from safetensors.torch import save_file

    demo = load_workload("histo", None, home)
    assert demo.weights is not None
    yield demo, demo.weights
    torch.manual_seed(0)
    weights = home / "small.safetensors"
    save_file(build_small().state_dict(), weights)
    yield load_workload(f"{Path(__file__).resolve()}:small", home / "demo" / "histo", home), weights


def _measured(workload: Workload, weights: Path, home: Path, processes: int) -> Iterator[dict[str, Any]]:
    target, store = LocalTarget(), Store(home / "store")
    host = target.host
    cases = pack_cases(workload, "val", store)
    with Maker(workload, weights, store, host) as maker:
        for name, quantized in KINDS:
            executes = runtime(name)
            settings = RuntimeSettings({**executes.canonical({"threads": host.cores}, host), "name": name})
            artifact = maker.export(executes.FORMAT)
            if quantized:
                artifact = maker.step("quantize", quantize.canonical({}, settings, host) or {}, artifact)
            pipelines = [replace(workload.pipeline, in_graph=way) for way in IN_GRAPH]  # type: ignore[arg-type]
            subjects = [
                Subject(maker.fuse_pre_post(artifact, item), settings, item, cases, "tile") for item in pipelines
            ]
            found = _joined(
                [measure_together(subjects, target, plan=PLAN, reference_worker=None) for _ in range(processes)]
            )
            for way, measured in zip(IN_GRAPH, found, strict=True):
                ratio = stats.paired_ratio(measured.turns_s, found[0].turns_s)
                yield {
                    "net": workload.name,
                    "kind": f"{name} {'int8' if quantized else 'f32'}",
                    "in_graph": way,
                    "p25_ms": measured.raw_p25_s * 1e3,
                    "ratio": ratio.ratio,
                    "error": ratio.error,
                    "processes": [round(value, 4) for value in ratio.values],
                }


def _joined(taken: list[list[Measurement]]) -> list[Measurement]:
    first = taken[0]
    for others in taken[1:]:
        first = [joined(one, other) for one, other in zip(first, others, strict=True)]
    return first


if __name__ == "__main__":
    main()
