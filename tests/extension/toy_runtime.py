"""A runtime from outside the package, for the toy format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.inference.runtimes.concurrent import Callers
from autoopt.inference.runtimes.layers import Layer
from autoopt.inference.runtimes.shared import PRECISION, THREADS, refusals
from autoopt.inference.runtimes.shared import canonical as canonical_settings
from tests.extension import toy_format

FORMAT = "toy"
DISTRIBUTION: str | None = "onnxruntime"
PARAMETERS: Mapping[str, Parameter] = {"precision": PRECISION, "threads": THREADS}
SCHEMES: tuple[str, ...] = ("int8",)
"""It may say so: no tool makes such graphs."""


def precisions(host: Host) -> tuple[str, ...]:
    """f32 alone."""
    return ("f32",)


def weight_bits(host: Host) -> int:
    """All of them."""
    return 8


def canonical(settings: Mapping[str, Scalar], host: Host) -> dict[str, Scalar]:
    """What it has."""
    return canonical_settings(settings, host, PARAMETERS, precisions(host))


def open(folder: Path, settings: Mapping[str, Scalar]) -> Session:  # noqa: A001 - the contract's name
    """Load the graph."""
    return Session(folder, settings)


def open_concurrent(folder: Path, settings: Mapping[str, Scalar]) -> Callers:
    """One caller."""
    session = Session(folder, settings)
    return Callers([session.run], {"streams": 1, "threads": 1}, session.close)


class Session:
    """An open graph."""

    def __init__(self, folder: Path, settings: Mapping[str, Scalar]) -> None:
        toy_format.content(folder)
        with refusals("the toy runtime", folder):
            self._call: Any = toy_format.call(folder)
        self._threads = settings.get("threads", 1)
        self._layers = [
            Layer(node.names[0], node.types[0], node.types[0], "f32", 0.001) for node in toy_format.layers(folder)
        ]

    def run(self, batch: np.ndarray) -> np.ndarray:
        """One call."""
        answer: np.ndarray = self._call(batch)
        return answer

    def effective(self) -> dict[str, Scalar]:
        """What was asked for."""
        nothing = {"streams": 1, "kernels": None, "low_precision_share": None}
        return {"precision": "f32", "threads": self._threads, **nothing}

    def profile(self, batch: np.ndarray, calls: int) -> list[Layer]:
        """All nodes, a millisecond each."""
        return self._layers

    def close(self) -> None:
        """Release the graph."""
        self._call = None
