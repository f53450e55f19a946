"""A network of a library by its name as a workload: `--model monai:SegResNet --weights net.pt`; no code is needed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.core.plain_text import short
from autoopt.errors import WorkloadError
from autoopt.workloads.contract import Workload
from autoopt.workloads.models.assemble import OPTIONS as COMMON_OPTIONS
from autoopt.workloads.models.assemble import Shape, dataset_of, pipeline_of, workload_of
from autoopt.workloads.models.libraries import LIBRARIES, Asked, builder, images_remark

OPTIONS: Mapping[str, Parameter] = {
    **COMMON_OPTIONS,
    "arguments": Parameter(
        "text", None, 'more arguments of the network as JSON, such as {"init_filters": 16}', nullable=True
    ),
}
NAME = re.compile(r"\w+(\.\w+)*(/[\w.-]+)?", re.ASCII)


def matches(model: str) -> bool:
    """Whether `model` is LIBRARY:NAME of a library that is known here."""
    library, colon, name = model.partition(":")
    return bool(colon) and library in LIBRARIES and NAME.fullmatch(name) is not None


def workload(model: str, data: Path, options: Mapping[str, Scalar]) -> Workload:
    """The network called `model`, for the channels and classes of the cases in `data`.

    Raises NeedsPackage where its library is not installed, WorkloadError or DataError.
    """
    library, _, name = model.partition(":")
    arguments = _arguments(options.get("arguments"))
    dataset = dataset_of(data, options)
    pipeline = pipeline_of(dataset, Shape(), options, model)
    asked = Asked(pipeline.task, pipeline.channels, pipeline.classes, pipeline.tile, arguments)
    called = name.replace("/", "-")
    made = workload_of(dataset, pipeline, options, called, build=builder(library, name, asked))
    return replace(made, remarks=(*made.remarks, images_remark(model, pipeline)))


def _arguments(text: Scalar) -> dict[str, Any]:
    """The arguments in a JSON text. Raises WorkloadError."""
    if text is None:
        return {}
    try:
        found = json.loads(str(text))
    except ValueError as error:
        raise WorkloadError(f"--option arguments must be a JSON object, got {short(text)}: {error}") from error
    if not isinstance(found, dict):
        raise WorkloadError(f"--option arguments must be a JSON object, got {short(text)}")
    return cast(dict[str, Any], found)
