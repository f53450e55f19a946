"""The step contract: plain settings in, a changed network or graph out.

A step is a module with the members of `Step`, and of `NetStep` or `GraphStep`: the first change the network before it
is exported, the others the graph afterwards. Heavy libraries are imported inside `change` and `apply`, which run
in the maker process (make.py), never in the parent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.core.store import Artifact
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Changed:
    """A network that a step made, and what it has to say of it: plain values, kept with the network."""

    model: torch.nn.Module
    report: Mapping[str, Any]


class Step(Protocol):
    """What every compression step module has."""

    SWITCH: str
    """The setting whose None switches the step off."""
    VERSION: int
    """Raised when the code changes what it makes; part of the artifact's key."""
    DISTRIBUTIONS: tuple[str, ...]
    """The packages whose versions change what it makes; part of the artifact's key."""
    PARAMETERS: Mapping[str, Parameter]

    def canonical(
        self, settings: Mapping[str, Scalar], runtime: Mapping[str, Scalar], host: Host
    ) -> dict[str, Scalar] | None:
        """`settings` with only what has an effect for the (canonical) `runtime` section, or None when
        the step does nothing there. Pure, idempotent."""
        ...


class NetStep(Step, Protocol):
    """A step that changes the network itself."""

    def parts(self, settings: Mapping[str, Scalar]) -> list[dict[str, Scalar]]:
        """What is made one after the other to get there, each stored for whoever needs it too; of none, nothing."""
        ...

    def left(self, part: Mapping[str, Scalar]) -> float:
        """About what share of the arithmetic of a call a part leaves of what the step was given first: for plans."""
        ...

    def change(
        self, settings: Mapping[str, Scalar], model: torch.nn.Module, teacher: torch.nn.Module, workload: Workload
    ) -> Changed:
        """The network that the part `settings` makes of `model`, which it may change in place.

        `teacher` is the whole network. Sees only `workload.splits.train` and `.calibration`. Raises Unsupported or
        Numeric.
        """
        ...


class GraphStep(Step, Protocol):
    """A step that changes the exported graph."""

    def apply(
        self, settings: Mapping[str, Scalar], source: Artifact, workload: Workload, folder: Path
    ) -> Mapping[str, Any]:
        """Turn the artifact `source` into new files in `folder`; the returned report is kept with it.

        Sees only `workload.splits.train` and `.calibration`. Raises Unsupported or Numeric.
        """
        ...
