"""The step contract: plain settings in, a changed network or graph out.

A step is a module with the members of `Step`, and of `NetStep` or `GraphStep`: the first change the network before it
is exported, the others the graph afterwards. Heavy libraries are imported inside `change` and `apply`, which run
in the maker process (maker_process.py), never in the parent.
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
    """A network that a step made, with the step's report: plain JSON, kept in the artifact's manifest."""

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
        """`settings` with only what has an effect for the (canonical) `runtime` section, defaults filled in.

        None when the step does nothing there. Pure, idempotent.
        """
        ...


class NetStep(Step, Protocol):
    """A step that changes the network itself.

    It may have `CHECKED`, names of settings by which a network may refuse it, and `refusal(settings, model, workload)`,
    which tells why this network does in a sentence, "" where it does not, and takes a second, not a training; the model
    is left as it is. A search asks both before its first trial.
    """

    def parts(self, settings: Mapping[str, Scalar]) -> list[dict[str, Scalar]]:
        """The intermediate settings in order, each network cached; empty when the step is off."""
        ...

    def left(self, part: Mapping[str, Scalar]) -> float:
        """About what fraction of the arithmetic is left after this part, compared with before the step; for plans."""
        ...

    def change(
        self, settings: Mapping[str, Scalar], model: torch.nn.Module, teacher: torch.nn.Module, workload: Workload
    ) -> Changed:
        """The network after this part (`settings`), made from `model`, which may be changed in place.

        `teacher` is the original network, to train from. Only `workload.splits.train` and `.calibration` may be read.
        Raises Unsupported or Numeric.
        """
        ...


class GraphStep(Step, Protocol):
    """A step that changes the exported graph."""

    def apply(
        self, settings: Mapping[str, Scalar], source: Artifact, workload: Workload, folder: Path
    ) -> Mapping[str, Any]:
        """Write the changed graph of the artifact `source` to `folder`; the returned report is kept in its manifest.

        Only `workload.splits.train` and `.calibration` may be read. Raises Unsupported or Numeric.
        """
        ...
