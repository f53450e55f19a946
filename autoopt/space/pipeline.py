"""The `pipeline` section of a space: the tile and overlap of a whole case, where that is what is timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from autoopt.errors import SpaceError
from autoopt.infer import Pipeline, with_tile
from autoopt.parameters import Parameter
from autoopt.records import Configuration, Scalar

PIPELINE = "pipeline"
PARAMETERS: Mapping[str, Parameter] = {
    "tile": Parameter("text", None, "size of one network call, such as 96x96x64; null: the workload's", nullable=True),
    "overlap": Parameter(
        "number", None, "the share of a tile that neighbours have in common; null: the workload's",
        low=0.0, high=0.9, nullable=True,
    ),
}  # fmt: skip


def canonical(settings: Mapping[str, Scalar], own: Pipeline | None) -> dict[str, Scalar] | None:
    """Tile and overlap where they differ from the workload's `own`, else None."""
    given = {key: settings.get(key) for key in PARAMETERS}
    if own is not None:
        changed = _changed(own, given)
        given = {"tile": "x".join(map(str, changed.tile)), "overlap": changed.overlap}
        if changed == own:
            return None
    return None if all(value is None for value in given.values()) else given


def configured(own: Pipeline, configuration: Configuration) -> Pipeline:
    """The workload's pipeline with the tile and overlap of a configuration."""
    return _changed(own, configuration.section(PIPELINE) or {})


def problems(settings: Mapping[str, object], own: Pipeline) -> list[str]:
    """What is wrong with the tiles of the section for a workload with the pipeline `own`."""
    given = settings.get("tile")
    found = []
    for tile in given if isinstance(given, list) else [given]:
        try:
            with_tile(own, None if tile is None else str(tile), None)
        except ValueError as error:
            found.append(f"{PIPELINE}.tile: {error}")
    return found


def _changed(own: Pipeline, settings: Mapping[str, Scalar]) -> Pipeline:
    try:
        return with_tile(own, cast("str | None", settings.get("tile")), cast("float | None", settings.get("overlap")))
    except ValueError as error:
        raise SpaceError(f"{PIPELINE}: {error}") from error
