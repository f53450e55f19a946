"""The step contract: plain settings in, one artifact folder to another.

A step is a module with the members of `Step`. Its heavy library is imported inside `apply`, which
runs in the maker process (make.py), never in the parent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from autoopt.parameters import Parameter
from autoopt.records import Host, Scalar
from autoopt.store import Artifact
from autoopt.workload import Workload


class Step(Protocol):
    """A compression step module."""

    NAME: str
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

    def apply(
        self, settings: Mapping[str, Scalar], source: Artifact, workload: Workload, folder: Path
    ) -> Mapping[str, Any]:
        """Turn the artifact `source` into new files in `folder`; the returned report is kept with it.

        Sees only `workload.splits.train` and `.calibration`. Raises Unsupported or Numeric.
        """
        ...
