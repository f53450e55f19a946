"""The runtime contract: open, run, effective, profile, close. The caller measures time, a runtime only runs.

A runtime is a module with the members of `Runtime`; its heavy library is imported inside `open`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.inference.runtimes.layers import Layer


class Session(Protocol):
    """A loaded model, ready to run."""

    def run(self, batch: np.ndarray) -> np.ndarray:
        """One call: float32 (n, channels, *spatial) in, float32 (n, classes[, *spatial]) out.

        A graph that does parts of its pipeline itself takes uint8 (n, *spatial, channels), and with `in_graph` both
        gives uint8 (n, *spatial).
        """
        ...

    def effective(self) -> dict[str, Scalar]:
        """The settings that really took effect, read back from the library after at least one call.

        Keys that every runtime gives: `precision`, `threads`, `streams`, `kernels` (a short, sorted
        "name:count" list of executed kernel types, or None where the library does not tell),
        `low_precision_share` (fraction of execution time in INT8/BF16/F16 kernels, or None).
        """
        ...

    def profile(self, batch: np.ndarray, calls: int) -> list[Layer]:
        """The executed layers in order, each with the 25th percentile of its seconds over `calls` calls with `batch`.

        A second, profiled copy of the model may run, so that later calls of `run` take no longer.
        """
        ...

    def close(self) -> None:
        """Release the model."""
        ...


class Concurrent(Protocol):
    """A loaded model that answers many calls at the same time, as many as give the most per second."""

    requests: int
    """How many calls run at once."""

    def run(self, batch: np.ndarray, calls: int, done: Callable[[], object]) -> None:
        """Make so many calls with `batch`, `requests` of them at a time; returns when all are answered.

        `done` is called as each of them is answered, in whatever thread that is.
        """
        ...

    def effective(self) -> dict[str, Scalar]:
        """What is really used: `requests`, `streams` and `threads`."""
        ...

    def close(self) -> None:
        """Release the model."""
        ...


class Runtime(Protocol):
    """A runtime module.

    It may have `TITLE`, what people call it, and `INITIALS`, two or three letters where room is scarce.
    """

    FORMAT: str
    """The graph format that it takes, a key of `formats.FORMATS`: what is exported for it."""
    DISTRIBUTION: str | None
    """The package that must be installed, as pip calls it."""
    PARAMETERS: Mapping[str, Parameter]
    """The settings of the `runtime` section that this runtime knows, besides `name`."""
    SCHEMES: tuple[str, ...]
    """The quantized graphs that it takes and computes with fewer bits: of "int8" (weights and activations),
    "int8-weights" and "int4-weights" (weights alone). A graph of another scheme is not made for it; empty where none
    is."""

    def precisions(self, host: Host) -> tuple[str, ...]:
        """The precisions with kernels of their own on this host: "f32" always, "bf16" / "f16" where real."""
        ...

    def weight_bits(self, host: Host) -> int:
        """The bits that weights of the scheme "int8" may use on this host, 7 or 8: more would let sums overflow."""
        ...

    def canonical(self, settings: Mapping[str, Scalar], host: Host) -> dict[str, Scalar]:
        """`settings` with only what has an effect here: threads no more than the host's cores,
        a precision the host has (else f32), no settings of other runtimes. Pure, idempotent."""
        ...

    def open(self, folder: Path, settings: Mapping[str, Scalar]) -> Session:
        """Load the artifact in `folder` with the canonical `settings`.

        Raises Unsupported when the library refuses the model or a setting.
        """
        ...

    def open_concurrent(self, folder: Path, settings: Mapping[str, Scalar]) -> Concurrent:
        """Load it for throughput: `threads` threads in all, shared by as many calls at once as suit the library.

        Raises Unsupported as `open` does.
        """
        ...
