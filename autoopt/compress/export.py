"""From a network to graph files, each checked against its source before it is used."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from autoopt.compress import output_check
from autoopt.compress.comparison import relative_error
from autoopt.core.configuration import RuntimeSettings
from autoopt.core.scratch import scratch_folder
from autoopt.errors import BadData, Numeric, Unsupported, WorkloadError
from autoopt.inference.formats import FORMATS, caller, finished_format, graph_format
from autoopt.inference.formats.base import Call, FinishedFormat, Source
from autoopt.inference.formats.one_channel import beside
from autoopt.inference.runtimes import EXACT, runtime
from autoopt.nets.exporter_errors import quiet, refusals_of
from autoopt.nets.files import read_net
from autoopt.workloads.contract import Workload

VERSION = 5
"""Raised when the code changes what it makes; part of the artifact's key."""
TOLERANCE = {"f32": 1e-3, "bf16": 0.2}
"""The largest error that is let through: root mean square, as a fraction of that of the model's answer.

In bfloat16 the roundings of a deep network add up (0.06 and 0.10 of two with an EfficientNet and random weights); what
that costs is scored. A wrong export is off by its whole size."""
NEAR = 1e-3
"""How near an answer with a background put beside it must be to what was written, as a fraction of its largest."""
PEAK = 20.0
"""How much larger the error of a single number may be, as a fraction of the largest one: where a network divides by the
deviation of a million voxels (instance norm), runtimes sum in other orders, and single voxels stray."""


def precision_of(format_name: str, precision: str) -> str:
    """The precision that the files of a format must be written in for `precision`: "f32" where they make no difference.

    Raises KeyError for a format that is not in the table.
    """
    return precision if precision in graph_format(format_name).PRECISIONS else EXACT


def form_of(settings: RuntimeSettings) -> tuple[str, str]:
    """What must be exported for a runtime with these settings: the format and the precision of the graph."""
    format_name = runtime(settings.name).FORMAT
    return format_name, precision_of(format_name, settings.precision)


def load_source(
    workload: Workload,
    weights: Path,
    net: Path | None = None,
    *,
    on_remark: Callable[[str], None] = lambda remark: None,
) -> Source:
    """The workload's model with `weights`, in evaluation mode, and its answers to noise and to a training tile.

    `net` is the folder of a stored network that is taken instead; `on_remark` is that of `read_net`. Raises
    WeightsError when the weights do not fit, WorkloadError when the model cannot be built or its output has not the
    shape that the pipeline needs, Unsupported when it refuses the shape of a tile.
    """
    if workload.build is None:
        return _finished_source(workload)
    import torch

    model = read_net(workload, weights, net, on_remark=on_remark)
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
    output_check.check(workload, answers)
    return Source(workload.pipeline, model, batches=batches, answers=answers)


def _finished_source(workload: Workload) -> Source:
    """A finished graph file as the source: its own answers are those of its format's library."""
    graph = workload.graph
    assert graph is not None
    name, source = finished_format(graph), Source(workload.pipeline, graph=graph, output=workload.graph_output)
    if name is None:
        raise WorkloadError(f"{graph} must be a graph of a format that can be read: {', '.join(FORMATS)}")
    batches = _batches(workload)
    with scratch_folder() as temporary:
        graph_format(name).write(source, EXACT, temporary)  # refuses a shape before the graph is asked for it
        written = graph_format(name).call(temporary)
        call = cast(FinishedFormat, graph_format(name)).finished_call(graph, workload.graph_output)
        probable = workload.pipeline.output == "probabilities"
        answers = {
            key: _before_decision(call(batch), written(batch), probabilities=probable) for key, batch in batches.items()
        }
    for answer in answers.values():
        if answer.shape != output_shape(workload):
            raise WorkloadError(
                f"{graph} must answer a batch of shape {workload.pipeline.input_shape} with shape "
                f"{output_shape(workload)}, it answered with {answer.shape}"
            )
    output_check.check(workload, answers)
    return replace(source, batches=batches, answers=answers)


def _before_decision(answer: np.ndarray, values: np.ndarray, *, probabilities: bool) -> np.ndarray:
    """The answer of a finished graph, as it is `written` here: one channel has a background beside it, and one that
    decides answers with what it decides on (`values`), where that gives the same labels."""
    if values.size == answer.size:
        return answer
    if answer.ndim == values.ndim and answer.shape[1] == 1:
        whole = beside(answer, probabilities=probabilities)
        if whole.shape == values.shape and np.allclose(whole, values, rtol=NEAR, atol=NEAR * np.abs(answer).max()):
            return whole
    labels = values.argmax(axis=1)
    if labels.size != answer.size or not np.array_equal(labels.ravel(), answer.ravel()):
        raise WorkloadError(
            "the graph ends with the operation that decides, and without it the largest of its values are not the "
            "labels that it gives: write the file once more without that operation"
        )
    return values


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
        tiles, _ = replace(workload.pipeline, mirror=()).prepare(sample.image, sample.affine)
    except ValueError as error:
        raise BadData(f"case {case.id} cannot be used: {error}") from error
    middle = len(tiles) // 2
    return np.ascontiguousarray(tiles[middle : middle + 1])


def export(
    format_name: str,
    precision: str,
    workload: Workload,
    weights: Path,
    folder: Path,
    *,
    source: Source | None = None,
    parent: Path | None = None,
) -> dict[str, Any]:
    """Write the graph of a format of the table to `folder`; the report tells its error and size.

    `source` saves loading the model, `parent` (a folder with the graph in the format's `PARENT`) writing that graph
    once more. Raises Numeric when the file answers otherwise than the model, Unsupported when the exporter refuses the
    model.
    """
    began = time.perf_counter()
    if format_name not in FORMATS:
        raise Unsupported(f"the format must be one of {', '.join(FORMATS)}, got {format_name!r}")
    written = graph_format(format_name)
    if not written.NETWORK:
        written.write(Source(workload.pipeline), precision, folder)
        return {"format": format_name, "precision": precision}
    precision = precision_of(format_name, precision)
    source = source or load_source(workload, weights)
    with scratch_folder() as temporary:
        if written.PARENT is not None and parent is None:
            parent = temporary
            export(written.PARENT, EXACT, workload, weights, parent, source=source)
        with quiet(), refusals_of(f"the exporter to {format_name}"):
            nodes = written.write(replace(source, parent=parent), precision, folder)
    tolerance = TOLERANCE.get(precision, max(TOLERANCE.values()))
    errors = check(source, folder, tolerance)
    return {
        "format": format_name,
        "precision": precision,
        "errors": errors,
        "max_error": max(errors.values()),
        "tolerance": tolerance,
        "parameters": None if source.model is None else sum(item.numel() for item in source.model.parameters()),
        "nodes": nodes,
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "seconds": time.perf_counter() - began,
    }


def check(
    source: Source, folder: Path, tolerance: float, *, reader: Callable[[Path], Call] = caller
) -> dict[str, float]:
    """The error of the file in `folder` on each batch of `source`: root mean square over that of the model's answer.

    `reader` gives the function that runs the file. Raises Numeric when an error is above `tolerance`, the error of a
    single number above `PEAK` times that (over the largest magnitude, at least 1), one is not a number, or the shape
    differs.
    """
    call = reader(folder)
    errors = {}
    for name, batch in source.batches.items():
        expected, got = source.answers[name], call(batch)
        if got.shape != expected.shape:
            raise Numeric(f"the export must answer with shape {expected.shape} as the model does, it gives {got.shape}")
        error = relative_error(got, expected)
        peak = float(np.abs(got.astype(np.float64) - expected).max()) / max(1.0, float(np.abs(expected).max()))
        if not (error <= tolerance and peak <= PEAK * tolerance):  # also when one is NaN
            raise Numeric(
                f"the export differs from the model by {error:.3g} of the output's magnitude on {name}, "
                f"at one place by {peak:.3g} (at most {tolerance:g} and {PEAK * tolerance:g} are let through)"
            )
        errors[name] = error
    return errors
