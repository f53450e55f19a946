"""A finished ONNX file as a workload: `--model net.onnx`. Nothing of it can be pruned or trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.errors import WorkloadError
from autoopt.inference.formats.decision import DECIDES, undecided
from autoopt.workloads.contract import Workload
from autoopt.workloads.models.answer_names import names_said
from autoopt.workloads.models.assemble import BINARY, OUTPUT, Shape, dataset_of, pipeline_of, task_of, workload_of
from autoopt.workloads.models.assemble import OPTIONS as COMMON_OPTIONS
from autoopt.workloads.models.onnx_output import LABELS, LOGITS, Meaning, meaning_of

OPTIONS: Mapping[str, Parameter] = {**COMMON_OPTIONS, "output": OUTPUT}
SUFFIX = ".onnx"
STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
MOST_NAMES = 5


def matches(model: str) -> bool:
    """Whether `model` is meant to be an ONNX file."""
    return model.endswith(SUFFIX)


def workload(model: str, data: Path, options: Mapping[str, Scalar]) -> Workload:
    """The model in the file on the cases in `data`. Raises WorkloadError or DataError with what does not fit."""
    path = Path(model)
    shape = read_shape(path, task_of(options), options.get("output"))
    dataset = dataset_of(data, options, shape.labels)
    pipeline = pipeline_of(dataset, shape, options, path.name)
    made = workload_of(dataset, pipeline, options, path.stem, build=None, graph=path, weights=path)
    remarks = [] if shape.remark is None else [shape.remark]
    if shape.classes == 1 and pipeline.classes == BINARY:
        remarks.append(f"{path.name} answers with one channel: a background is put beside it")
    return replace(made, remarks=(*made.remarks, *remarks))


def read_shape(path: Path, task: str, output: Scalar = None) -> Shape:
    """The shapes of the input and the output, and what it answers with: `output`, or what its last operation says.

    Of a file that ends with ArgMax, these are those of what it is taken of.
    Raises WorkloadError with everything in the file that cannot be used.
    """
    if not path.is_file():
        raise WorkloadError(f"the model must be a file, {path} is {'a folder' if path.exists() else 'not there'}")
    model = _load(path)
    graph = model.graph
    weights = {item.name for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in weights]
    problems = []
    for kind, items in (("input", inputs), ("output", list(graph.output))):
        if len(items) != 1:
            names = ", ".join(item.name for item in items[:MOST_NAMES]) or "none"
            problems.append(f"{path} must have one {kind}, it has {len(items)}: {names}")
    if problems:
        raise WorkloadError(*problems)
    said = meaning_of(model)
    decides = said.kind == LABELS
    if decides or output == LABELS:
        model = _undecided(model, path, said)
        graph, said = model.graph, meaning_of(model)
    problems = list(_shape_problems(inputs[0], graph.output[0], task))
    if problems:
        raise WorkloadError(*(f"{path}: {text}" for text in problems))
    taken, given = _sizes(inputs[0]), _sizes(graph.output[0])
    classes = given[1] if len(given) > 1 else None
    notes = {item.key: item.value for item in model.metadata_props}
    means = said.kind if output in (None, LABELS) else str(output)
    shape = Shape(taken[1], classes, taken[2:], names_said(notes, classes), means)
    if output is not None or (said.kind == LOGITS and not decides):
        return shape
    if decides:
        remark = f"{path.name} ends with {DECIDES}, which is taken off: the pipeline decides, on {said.kind}"
    else:
        remark = (
            f"{path.name} ends with {said.operation}, so its outputs are taken for probabilities; "
            "--option output=logits if they are none"
        )
    return replace(shape, remark=remark)


def _undecided(model: Any, path: Path, said: Meaning) -> Any:
    """The model without the operation that decides. Raises WorkloadError where there is none that can be taken off."""
    if said.kind != LABELS:
        raise WorkloadError(
            f"{path} must end with {DECIDES} where --option output=labels is given, it answers with {said.kind}: "
            "leave the option out"
        )
    found = undecided(model)
    if found is None:
        raise WorkloadError(
            f"{path} must answer with logits or probabilities, or end with {DECIDES} over its classes (axis 1), it "
            f"answers with labels (its last operation is {said.operation}): write the file once more without the "
            "operation that decides"
        )
    return found


def _shape_problems(taken_in: Any, given_out: Any, task: str) -> Iterator[str]:
    """What no pipeline can use of the input and the output, as ends of sentences."""
    taken, given = _sizes(taken_in), _sizes(given_out)
    for kind, value in (("input", taken_in), ("output", given_out)):
        if value.type.tensor_type.elem_type != 1:
            yield f"the {kind} {value.name} must be float32, it is {_type(value)}: convert the model"
    if len(taken) not in (4, 5):
        yield f"the input must be (n, channels, *sizes) of a 2D or 3D image, it is {taken}"
    expected = 2 if task == "classification" else len(taken)
    if given and len(given) != expected:
        shape = "(n, classes)" if task == "classification" else "(n, classes, *sizes)"
        yield f"the output of a {task} must be {shape}, it is {given}"
    elif any(None not in pair and pair[0] != pair[1] for pair in zip(taken[2:], given[2:], strict=False)):
        yield f"the output must be as large as the input, {taken[2:]}, it is {given[2:]}"
    if taken and taken[0] not in (None, 1):
        yield f"the batch must be free or 1, it is {taken[0]}"


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


def _sizes(value: Any) -> tuple[int | None, ...]:
    """The sizes of an input or output; None where one is free."""
    dimensions = value.type.tensor_type.shape.dim
    return tuple(item.dim_value if item.HasField("dim_value") and item.dim_value > 0 else None for item in dimensions)
