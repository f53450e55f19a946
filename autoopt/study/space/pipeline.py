"""The `pipeline` section of a space: how a whole case is cut, mirrored and put back, and what the graph does of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np

from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.parameters import Parameter
from autoopt.errors import SpaceError
from autoopt.inference.pipeline import Pipeline, with_tile
from autoopt.inference.pipeline_settings import IN_GRAPH, RESTORES
from autoopt.workloads.contract import Workload

PIPELINE = "pipeline"
NONE = "none"
PARAMETERS: Mapping[str, Parameter] = {
    "tile": Parameter("text", None, "size of one network call, such as 96x96x64; null: the workload's", nullable=True),
    "overlap": Parameter(
        "number",
        None,
        "the share of a tile that neighbours have in common; null: the workload's",
        low=0.0,
        high=0.9,
        nullable=True,
    ),
    "mirror": Parameter(
        "text",
        None,
        "axes that calls are mirrored along, such as 0 or 0,1, and averaged over all combinations, or none; null: the "
        "workload's",
        nullable=True,
    ),
    "restore": Parameter(
        "choice",
        None,
        "what is put back on the image's own grid: logits, probabilities, or labels, which is quickest; null: the "
        "workload's",
        RESTORES,
        nullable=True,
    ),
    "in_graph": Parameter(
        "choice", NONE, "what the graph does itself: input normalises 8-bit pixels, both also decides", IN_GRAPH
    ),
}


def canonical(
    settings: Mapping[str, Scalar], own: Pipeline | None, image: np.ndarray | None = None
) -> dict[str, Scalar] | None:
    """What of the section's settings differs from the workload's `own`, else None.

    `image` is one of the workload's: what the graph cannot do with such images, it does not do.
    """
    given = {key: settings.get(key, parameter.default) for key, parameter in PARAMETERS.items()}
    if own is not None:
        changed = _changed(own, {**given, "in_graph": NONE})
        given = {"in_graph": feasible(changed, str(given["in_graph"]), image)}
        if (changed.tile, changed.overlap) != (own.tile, own.overlap):
            given |= {"tile": "x".join(map(str, changed.tile)), "overlap": changed.overlap}
        if changed.mirror != own.mirror:
            given["mirror"] = mirror_text(changed.mirror)
        if changed.restore != own.restore:
            given["restore"] = changed.restore
    return {key: value for key, value in given.items() if value != PARAMETERS[key].default} or None


def configured(own: Pipeline, configuration: Configuration) -> Pipeline:
    """The workload's pipeline with the settings of a configuration's section."""
    return _changed(own, configuration.section(PIPELINE) or {})


def feasible(pipeline: Pipeline, wanted: str, image: np.ndarray | None) -> str:
    """What of `pipeline` to move into the graph: `wanted`, or less where it cannot do as much with such an image."""
    possible = [way for way in IN_GRAPH[: IN_GRAPH.index(wanted) + 1] if refusal(pipeline, way, image) is None]
    return possible[-1]


def refusal(pipeline: Pipeline, way: str, image: np.ndarray | None) -> str | None:
    """Why a graph cannot do exactly what `way` names of `pipeline`, with such an image if one is given; else None."""
    if way == NONE:
        return None
    if image is not None and image.dtype != np.uint8:
        return f"in_graph must be none where images are not of 8 bits, these are {image.dtype}"
    try:
        changed = replace(pipeline, in_graph=cast(Any, way))
        if image is not None:
            changed.cut(image)
    except ValueError as error:
        return str(error)
    return None


def sample_image(section: Mapping[str, object], workload: Workload) -> np.ndarray | None:
    """The first training image, read only where the section offers what depends on the images. Raises TrialError."""
    pipeline = workload.pipeline
    if not any(refusal(pipeline, way, None) is None for way in _offered(section, "in_graph") if way in IN_GRAPH[1:]):
        return None
    return np.asarray(workload.splits.train[0].read().image)


def problems(section: Mapping[str, object], workload: Workload, image: np.ndarray | None) -> list[str]:
    """What of the section, as the file has it, the workload cannot have."""
    own, found = workload.pipeline, []
    given = [key for key in ("tile", "overlap", "mirror", "restore") if section.get(key) is not None]
    if given and workload.latency != "case":
        why = "what is timed there is one network call, which these do not change, or make smaller"
        return [f"{PIPELINE}.{given[0]}: must be left out for {workload.name}: {why}"]
    for tile in _offered(section, "tile"):
        try:
            with_tile(own, None if tile is None else str(tile), None)
        except ValueError as error:
            found.append(f"{PIPELINE}.tile: {error}")
    for mirror in _offered(section, "mirror"):
        try:
            _mirrored(own, None if mirror is None else str(mirror))
        except ValueError as error:
            found.append(f"{PIPELINE}.mirror: {error}")
    if not given:  # else it depends on the tile, and the canonical form drops what cannot be
        refused = [refusal(own, str(way), image) for way in _offered(section, "in_graph") if way in IN_GRAPH]
        if refused and None not in refused:
            found.append(f"{PIPELINE}.in_graph: {refused[0]}")
    return found


def _offered(section: Mapping[str, object], key: str) -> list[object]:
    value = section.get(key, PARAMETERS[key].default)
    return value if isinstance(value, list) else [value]


def _changed(own: Pipeline, settings: Mapping[str, Scalar]) -> Pipeline:
    try:
        changed = with_tile(
            own, cast("str | None", settings.get("tile")), cast("float | None", settings.get("overlap"))
        )
        changed = _mirrored(changed, cast("str | None", settings.get("mirror")))
        restore = settings.get("restore") or own.restore
        return replace(changed, restore=cast(Any, restore), in_graph=cast(Any, settings.get("in_graph", NONE)))
    except ValueError as error:
        raise SpaceError(f"{PIPELINE}: {error}") from error


def mirror_text(axes: tuple[int, ...]) -> str:
    """The axes of a mirror as a space has them."""
    return ",".join(map(str, axes)) if axes else NONE


def _mirrored(pipeline: Pipeline, axes: str | None) -> Pipeline:
    """The pipeline with calls mirrored along these axes; None keeps its own. Raises ValueError."""
    if axes is None:
        return pipeline
    parts = [] if axes == NONE else axes.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise ValueError(f"mirror must be none or axes of the tile such as 0,1, got {axes!r}")
    return replace(pipeline, mirror=tuple(int(part) for part in parts))
