"""From a torch module to graph files, each checked against its source before it is used."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.core.configuration import RuntimeSettings
from autoopt.errors import BadData, Numeric, Unsupported, WorkloadError
from autoopt.inference import graphs
from autoopt.inference.runtimes import runtime
from autoopt.nets.exporter_errors import quiet, refusals_of
from autoopt.nets.files import read_net
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch

VERSION = 5
"""Raised when the code changes what it makes; part of the artifact's key."""
DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "onnx": ("torch", "onnxscript", "onnx"),
    "openvino": ("openvino",),
    "fake": (),
}
"""The packages whose versions change what is made, by format."""
TOLERANCE = {"f32": 1e-3, "bf16": 0.2}
"""The largest error that is let through: root mean square, as a fraction of that of the model's answer.

In bfloat16 the roundings of a deep network add up (0.06 and 0.10 of two with an EfficientNet and random weights); what
that costs is scored. A wrong export is off by its whole size."""
PEAK = 20.0
"""How much larger the error of a single number may be, as a fraction of the largest one: where a network divides by the
deviation of a million voxels (instance norm), runtimes sum in other orders, and single voxels stray."""
SMALLEST_SIZE = 1e-6
"""An answer of zeros has no size to compare an error with."""
INLINE_LIMIT_BYTES = 1_500_000_000
"""Above this an ONNX model keeps its weights in a second file: one protobuf message ends at 2 GB."""


@dataclass(frozen=True)
class Source:
    """A loaded model with the batches it is compared on and its own float32 answers to them.

    `model` is None where the workload is a finished ONNX file.
    """

    model: torch.nn.Module | None
    batches: Mapping[str, np.ndarray]
    answers: Mapping[str, np.ndarray]


def precision_of(graph_format: str, precision: str) -> str:
    """The precision that makes a difference to the files of `graph_format`: only torch has it in the graph."""
    return precision if graph_format == "torch" and precision in TOLERANCE else "f32"


def form_of(settings: RuntimeSettings) -> tuple[str, str]:
    """What must be exported for a runtime with these settings: the format and the precision of the graph."""
    graph_format = runtime(settings.name).FORMAT
    return graph_format, precision_of(graph_format, settings.precision)


def load_source(workload: Workload, weights: Path, net: Path | None = None) -> Source:
    """The workload's model with `weights`, in evaluation mode, and its answers to noise and to a training tile.

    Of a stored network in the folder `net`, if one is given.

    Raises WeightsError when the weights do not fit, WorkloadError when the model cannot be built or its
    output has not the shape that the pipeline needs.
    """
    if workload.build is None:
        return _graph_source(workload)
    import torch

    model = read_net(workload, weights, net)
    batches = _batches(workload)
    answers = {}
    with torch.no_grad():
        for name, batch in batches.items():
            try:
                answer = model(torch.from_numpy(batch))
            except ValueError as error:  # what networks say of sizes that they cannot halve
                raise Unsupported(f"the model refuses an input of shape {batch.shape}: {error}") from error
            shape = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
            if shape != output_shape(workload):
                raise WorkloadError(
                    f"the model of {workload.name} must answer a batch of shape {batch.shape} with one tensor of shape "
                    f"{output_shape(workload)}, it answered with {shape}"
                )
            answers[name] = answer.float().numpy()
    return Source(model, batches, answers)


def _graph_source(workload: Workload) -> Source:
    """A finished ONNX file as the source: its own answers are those of ONNX Runtime."""
    import onnx

    assert workload.graph is not None
    with tempfile.TemporaryDirectory(prefix="autoopt-onnx-") as temporary:
        folder = Path(temporary)
        onnx.save(_fixed_graph(workload), folder / graphs.FILES["onnx"])
        call, batches = graphs.caller(folder), _batches(workload)
        answers = {name: call(batch) for name, batch in batches.items()}
    for answer in answers.values():
        if answer.shape != output_shape(workload):
            raise WorkloadError(
                f"{workload.graph} must answer a batch of shape {workload.pipeline.input_shape} with shape "
                f"{output_shape(workload)}, it answered with {answer.shape}"
            )
    return Source(None, batches, answers)


def _fixed_graph(workload: Workload) -> Any:
    """The workload's ONNX model with the shape of one network call written into it. Raises Unsupported."""
    import onnx
    from onnx.tools.update_model_dims import update_inputs_outputs_dims

    model = onnx.load(str(workload.graph))
    pipeline = workload.pipeline
    try:
        return update_inputs_outputs_dims(
            model,
            {model.graph.input[0].name: list(pipeline.input_shape)},
            {model.graph.output[0].name: list(pipeline.output_shape)},
        )
    except ValueError as error:
        raise Unsupported(f"{workload.graph} cannot take the shape {pipeline.input_shape}: {error}") from error


def _batches(workload: Workload) -> dict[str, np.ndarray]:
    """What a graph is compared on: noise and a training tile."""
    noise = np.random.default_rng(0).standard_normal(workload.pipeline.input_shape, dtype=np.float32)
    return {"noise": noise, "case": training_tile(workload)}


def output_shape(workload: Workload) -> tuple[int, ...]:
    """What the model answers to one tile: (1, classes, *tile), or (1, classes) for classification."""
    return workload.pipeline.output_shape


def training_tile(workload: Workload) -> np.ndarray:
    """The middle tile of the first training case, of the pipeline's `input_shape`.

    Raises BadData naming the case when the pipeline refuses its image.
    """
    case = workload.splits.train[0]
    try:
        sample = case.read()
        tiles, _ = workload.pipeline.prepare(sample.image, sample.affine)
    except ValueError as error:
        raise BadData(f"case {case.id} cannot be used: {error}") from error
    middle = len(tiles) // 2
    return np.ascontiguousarray(tiles[middle : middle + 1])


def export(
    graph_format: str,
    precision: str,
    workload: Workload,
    weights: Path,
    folder: Path,
    *,
    source: Source | None = None,
    onnx_folder: Path | None = None,
) -> dict[str, Any]:
    """Write the graph as torch, onnx, openvino or fake file to `folder`; the report tells its error and size.

    `source` and `onnx_folder` save loading the model and exporting to ONNX once more. Raises Numeric
    when the file answers otherwise than the model, Unsupported when the exporter refuses the model.
    """
    began = time.perf_counter()
    if graph_format == "fake":
        text = json.dumps({"classes": workload.pipeline.classes, "task": workload.pipeline.task})
        (folder / graphs.FILES["fake"]).write_text(text)
        return {"format": graph_format, "precision": precision}
    precision = precision_of(graph_format, precision)
    source = source or load_source(workload, weights)
    if graph_format == "torch":
        nodes = _export_torch(source, precision, folder)
    elif graph_format == "onnx":
        nodes = _copy_graph(workload, folder) if source.model is None else _export_onnx(source.model, source, folder)
    elif graph_format == "openvino":
        with tempfile.TemporaryDirectory(prefix="autoopt-onnx-") as temporary:
            if onnx_folder is None:
                onnx_folder = Path(temporary)
                export("onnx", precision, workload, weights, onnx_folder, source=source)
            nodes = _export_openvino(folder, onnx_folder)
    else:
        raise Unsupported(f"the format must be one of {', '.join(graphs.FILES)}, got {graph_format!r}")
    errors = check(source, folder, TOLERANCE[precision])
    return {
        "format": graph_format,
        "precision": precision,
        "errors": errors,
        "max_error": max(errors.values()),
        "tolerance": TOLERANCE[precision],
        "parameters": None if source.model is None else sum(item.numel() for item in source.model.parameters()),
        "nodes": nodes,
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "seconds": time.perf_counter() - began,
    }


def check(source: Source, folder: Path, tolerance: float) -> dict[str, float]:
    """The error of the file in `folder` on each batch of `source`: root mean square over that of the model's answer.

    Raises Numeric when one is above `tolerance`, the error of a single number above `PEAK` times that (over the
    largest magnitude, at least 1), one is not a number, or the shape differs.
    """
    call = graphs.caller(folder)
    errors = {}
    for name, batch in source.batches.items():
        expected, got = source.answers[name], call(batch)
        if got.shape != expected.shape:
            raise Numeric(f"the export must answer with shape {expected.shape} as the model does, it gives {got.shape}")
        difference = got.astype(np.float64) - expected
        size = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
        error = float(np.sqrt(np.mean(np.square(difference)))) / max(size, SMALLEST_SIZE)
        peak = float(np.abs(difference).max()) / max(1.0, float(np.abs(expected).max()))
        if not (error <= tolerance and peak <= PEAK * tolerance):  # also when one is NaN
            raise Numeric(
                f"the export differs from the model by {error:.3g} of the output's magnitude on {name}, "
                f"at one place by {peak:.3g} (at most {tolerance:g} and {PEAK * tolerance:g} are let through)"
            )
        errors[name] = error
    return errors


def _export_torch(source: Source, precision: str, folder: Path) -> int:
    import copy

    import torch

    module = source.model
    if module is None:
        raise Unsupported("a finished ONNX file cannot be run by PyTorch")
    if precision == "bf16":
        module = _in_bfloat16(copy.deepcopy(module))
    with quiet(), refusals_of("torch.export"):
        program = torch.export.export(module, (torch.from_numpy(source.batches["noise"]),), strict=False)
        torch.export.save(program, folder / graphs.FILES["torch"])
    return sum(node.op == "call_function" for node in program.graph.nodes)


def _in_bfloat16(model: torch.nn.Module) -> torch.nn.Module:
    """The model in bfloat16 that takes and gives float32."""
    import torch

    class InBfloat16(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model.to(torch.bfloat16)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.model(batch.to(torch.bfloat16))
            return answer.to(torch.float32)

    return InBfloat16().eval()


def _copy_graph(workload: Workload, folder: Path) -> int:
    import onnx
    import onnx_ir

    proto = _fixed_graph(workload)
    model = onnx_ir.from_proto(proto)
    graphs.name_onnx(model)
    large = proto.ByteSize() > INLINE_LIMIT_BYTES
    onnx.save(onnx_ir.to_proto(model), folder / graphs.FILES["onnx"], save_as_external_data=large)
    return len(proto.graph.node)


def _export_onnx(module: torch.nn.Module, source: Source, folder: Path) -> int:
    import torch

    with quiet(), refusals_of("torch.onnx.export"):
        program = torch.onnx.export(
            module,
            (torch.from_numpy(source.batches["noise"]),),
            dynamo=True,
            input_names=["input"],
            output_names=["output"],
            verbose=False,
        )
    assert program is not None
    graphs.name_onnx(program.model)
    size = sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
    program.save(folder / graphs.FILES["onnx"], external_data=size > INLINE_LIMIT_BYTES)
    return len(list(program.model.graph))


def _export_openvino(folder: Path, onnx_folder: Path) -> int:
    import openvino
    from openvino.passes import ConstantFolding, Manager

    # read_model, not convert_model: the latter reports each conversion to its makers unless told otherwise.
    model = openvino.Core().read_model(onnx_folder / graphs.FILES["onnx"])
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(model)
    graphs.name_openvino(model)
    openvino.save_model(model, folder / graphs.FILES["openvino"], compress_to_fp16=False)
    return len(model.get_ordered_ops())
