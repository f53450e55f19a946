"""A finished ONNX file as a workload: `--model net.onnx`. Nothing of it can be pruned or trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.core.plain_text import short
from autoopt.errors import WorkloadError
from autoopt.inference.formats.decision import DECIDES, undecided
from autoopt.inference.formats.finished_onnx import (
    FLOAT16,
    has_channels_last,
    inputs_of,
    prepared,
    sizes_of,
    with_output,
)
from autoopt.workloads.contract import Workload
from autoopt.workloads.models.answer_names import names_said
from autoopt.workloads.models.assemble import BINARY, OUTPUT, Shape, dataset_of, pipeline_of, task_of, workload_of
from autoopt.workloads.models.assemble import OPTIONS as COMMON_OPTIONS
from autoopt.workloads.models.onnx_output import LABELS, LOGITS, PROBABILITIES, Meaning, meaning_of

MEANINGS = (LOGITS, PROBABILITIES, LABELS)
OPTIONS: Mapping[str, Parameter] = {
    **COMMON_OPTIONS,
    "output": Parameter("text", None, f"{OUTPUT.help}; or the name of one of several outputs", nullable=True),
}
SUFFIX = ".onnx"
STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
QUANTIZED = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinear", "ConvInteger", "MatMulInteger")
"""What the operations of quantized graphs begin with."""
MOST_NAMES = 5


def matches(model: str) -> bool:
    """Whether `model` is meant to be an ONNX file."""
    return model.endswith(SUFFIX)


def workload(model: str, data: Path, options: Mapping[str, Scalar]) -> Workload:
    """The model in the file on the cases in `data`. Raises WorkloadError or DataError with what does not fit."""
    path = Path(model)
    said = options.get("output")
    shape, chosen = read_shape(path, task_of(options), None if said is None else str(said))
    dataset = dataset_of(data, options, shape.labels)
    pipeline = pipeline_of(dataset, shape, options, path.name)
    made = workload_of(dataset, pipeline, options, path.stem, build=None, graph=path, graph_output=chosen, weights=path)
    remarks = [] if shape.remark is None else [shape.remark]
    if shape.classes == 1 and pipeline.classes == BINARY:
        remarks.append(f"{path.name} answers with one channel: a background is put beside it")
    return replace(made, remarks=(*made.remarks, *remarks))


def read_shape(path: Path, task: str, output: str | None = None) -> tuple[Shape, str | None]:
    """The shapes of the input and the output, and what it answers with; and its output by name, where it has several.

    `output` is what it answers with, by default what its last operation says, or the name of one of several outputs. Of
    a file that ends with ArgMax, the shapes are those of what it is taken of. Raises WorkloadError with everything in
    the file that cannot be used.
    """
    if not path.is_file():
        raise WorkloadError(f"the model must be a file, {path} is {'a folder' if path.exists() else 'not there'}")
    model = _load(path)
    name, means = _chosen(model, output, path)
    whole = with_output(model, name)
    said = meaning_of(whole)
    decides = said.kind == LABELS
    if decides or means == LABELS:
        _check_decision(whole, path, said)
    form = prepared(model, name)
    if decides:
        said = meaning_of(form)
    taken_in, given_out = form.graph.input[0], form.graph.output[0]
    problems = list(_shape_problems(taken_in, given_out, task))
    if problems:
        raise WorkloadError(*(f"{path}: {text}" for text in problems))
    taken, given = sizes_of(taken_in), sizes_of(given_out)
    classes = given[1] if len(given) > 1 else None
    notes = {item.key: item.value for item in model.metadata_props}
    kind = said.kind if means in (None, LABELS) else str(means)
    remarks = list(_remarks(inputs_of(model)[0], path))
    if decides and means is None:
        remarks.append(f"{path.name} ends with {DECIDES}, which is taken off: the pipeline decides, on {said.kind}")
    elif means is None and said.kind != LOGITS:
        remarks.append(
            f"{path.name} ends with {said.operation}, so its outputs are taken for probabilities; "
            "--option output=logits if they are none"
        )
    shape = Shape(taken[1], classes, taken[2:], names_said(notes, classes), kind, "; ".join(remarks) or None)
    return shape, name


def _chosen(model: Any, output: str | None, path: Path) -> tuple[str | None, str | None]:
    """The name of the output that is meant where there are several, and what it answers with where that is said.

    Raises WorkloadError for several inputs, and for several outputs none of which is named.
    """
    names = [item.name for item in model.graph.output]
    inputs = [item.name for item in inputs_of(model)]
    problems = []
    if len(inputs) != 1:
        problems.append(f"{path} must have one input, it has {len(inputs)}: {', '.join(inputs[:MOST_NAMES]) or 'none'}")
    if len(names) > 1 and output in names:
        chosen: tuple[str | None, str | None] = (output, None)
    else:
        chosen = (None, output)
        if len(names) != 1:
            which = ": say which is meant with --option output=NAME" if names else ""
            listed = ", ".join(names[:MOST_NAMES]) or "none"
            problems.append(f"{path} must have one output, it has {len(names)}: {listed}{which}")
        if output not in (None, *MEANINGS):
            problems.append(
                f"--option output must be one of {', '.join(MEANINGS)}, or the name of one of several outputs, got "
                f"{short(output)}"
            )
    if problems:
        raise WorkloadError(*problems)
    return chosen


def _remarks(taken: Any, path: Path) -> Iterator[str]:
    """What users should be told of the input of a file as it came, a clause each."""
    sizes = sizes_of(taken)
    if has_channels_last(sizes):
        yield f"{path.name} takes images with their channels last: its axes are turned"
    if sizes and sizes[0] not in (None, 1):
        yield f"{path.name} takes {sizes[0]} images at once: it is given one"
    if taken.type.tensor_type.elem_type == FLOAT16:
        yield f"{path.name} takes float16: images are rounded to it"


def _check_decision(model: Any, path: Path, said: Meaning) -> None:
    """Raise WorkloadError where no operation that decides can be taken off the end."""
    if said.kind != LABELS:
        raise WorkloadError(
            f"{path} must end with {DECIDES} where --option output=labels is given, it answers with {said.kind}: "
            "leave the option out"
        )
    if undecided(model) is None:
        raise WorkloadError(
            f"{path} must answer with logits or probabilities, or end with {DECIDES} over its classes (axis 1), it "
            f"answers with labels (its last operation is {said.operation}): write the file once more without the "
            "operation that decides"
        )


def _shape_problems(taken_in: Any, given_out: Any, task: str) -> Iterator[str]:
    """What no pipeline can use of the input and the output, as ends of sentences."""
    taken, given = sizes_of(taken_in), sizes_of(given_out)
    for kind, value in (("input", taken_in), ("output", given_out)):
        if value.type.tensor_type.elem_type != 1:
            yield f"the {kind} {value.name} must be float32, it is {_type(value)}: convert the model"
    if len(taken) not in (3, 4, 5):
        yield f"the input must be (n, channels, *sizes) of a time series or a 2D or 3D image, it is {taken}"
    expected = len(taken) if task == "segmentation" else 2
    if given and len(given) != expected:
        shape = "(n, classes, *sizes)" if task == "segmentation" else "(n, classes)"
        yield f"the output of a {task} must be {shape}, it is {given}"
    elif any(None not in pair and pair[0] != pair[1] for pair in zip(taken[2:], given[2:], strict=False)):
        yield f"the output must be as large as the input, {taken[2:]}, it is {given[2:]}"


def _load(path: Path) -> Any:
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
        _check_external(model, path)
        onnx.checker.check_model(str(path))
    except WorkloadError:
        raise
    except Exception as error:  # protobuf and the checker raise many kinds for broken files: name the file
        raise WorkloadError(f"{path} must be a valid ONNX model: {str(error).splitlines()[0][:300]}") from error
    quantized = sum(node.op_type.startswith(QUANTIZED) for node in _nodes(model))
    if quantized:
        raise WorkloadError(
            f"{path} must be a float model, it is quantized already ({quantized} operations on integers): name the "
            "file that it was made of; what quantization is worth is for the search to find"
        )
    domains = sorted(_foreign_domains(model))
    if domains:
        raise WorkloadError(f"{path} must use standard operators only, it needs those of {', '.join(domains)}")
    return model


def _foreign_domains(model: Any) -> set[str]:
    """The domains of operators that neither the runtimes nor the model itself define."""
    own = {(function.domain, function.name) for function in model.functions}
    used = {(node.domain, node.op_type) for node in _nodes(model)} - own
    return {domain for domain, _ in used} - set(STANDARD_DOMAINS)


def _check_external(model: Any, path: Path) -> None:
    """Raise WorkloadError for weights in a file outside the model's folder: a path in a model cannot be trusted."""
    folder = path.parent.resolve()
    for tensor in _tensors(model):
        for entry in tensor.external_data:
            if entry.key == "location" and not (folder / entry.value).resolve().is_relative_to(folder):
                raise WorkloadError(f"{path}: its weights must lie in a file beside it, it names {entry.value!r}")


def _nodes(model: Any) -> Iterator[Any]:
    """Every node, also those of branches, loops and functions."""
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [inner for graph in _branches(node) for inner in graph.node]


def _tensors(model: Any) -> Iterator[Any]:
    """Every constant, also those of branches, loops and functions."""
    nodes = list(_nodes(model))
    for graph in [model.graph, *(graph for node in nodes for graph in _branches(node))]:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)


def _branches(node: Any) -> list[Any]:
    return [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs)]


def _type(value: Any) -> str:
    import onnx

    return str(onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)).lower()
