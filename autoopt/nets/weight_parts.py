"""The weights of a network that lie in several files, such as the folds of an ensemble, or inside a zip file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.core.configuration import digest
from autoopt.errors import WeightsError
from autoopt.nets.weights import load_weights, weights_digest
from autoopt.workloads.contract import WeightPart, Workload

if TYPE_CHECKING:
    import torch


def load_all(model: torch.nn.Module, workload: Workload, weights: Path) -> str:
    """Load the weights of `weights` into the workload's network; what is to be said of how they were found.

    Where they are the workload's own, of all their parts; else, as those that a training here left, of that file.
    Raises WeightsError as `load_weights`.
    """
    parts = _parts(workload, weights)
    if not parts:
        return load_weights(model, weights, workload.weights_key)
    remarks = []
    for part in parts:
        try:
            inner = model.get_submodule(part.module)
            remarks.append(load_weights(inner, part.path, workload.weights_key, entry=part.entry))
        except WeightsError as error:
            if not part.otherwise:
                raise
            raise WeightsError(f"{error}; {part.otherwise}") from error
    return "; ".join(filter(None, remarks))


def digest_of_all(workload: Workload, weights: Path, key: str | None) -> str:
    """What identifies the weights that `load_all` loads; see `weights_digest`."""
    parts = _parts(workload, weights)
    if not parts:
        return weights_digest(weights, key)
    return digest([[part.module, weights_digest(part.path, key), part.entry] for part in parts])


def _parts(workload: Workload, weights: Path) -> tuple[WeightPart, ...]:
    """The parts of the workload's own weights; none of any other file."""
    own = workload.weights
    return workload.weight_parts if own is not None and own.resolve() == weights.resolve() else ()
