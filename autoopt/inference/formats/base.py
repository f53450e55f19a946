"""The graph format contract: how a network becomes files, how the files are named, read, checked, costed and extended.

A format is a module with the members of `GraphFormat`. All that concerns one format stands in its one file, what makes
its files as well as what reads them, because the names given when a graph is written are those looked for when it is
read. Heavy libraries are imported inside functions, so a slim install can import every format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from autoopt.inference.formats.names import Node
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.roofline import Cost

if TYPE_CHECKING:
    import torch

Call = Callable[[np.ndarray], np.ndarray]
"""One batch in, the output of the graph for it."""


@dataclass(frozen=True)
class Source:
    """What a graph is written from, and what it must answer.

    `model` is the network in evaluation mode; None where `graph` is a finished file that somebody brings, of which the
    output called `output` is meant, or its only one. `parent` is
    the folder with the graph in the format that `GraphFormat.PARENT` names. `answers` are the source's own float32
    outputs to `batches` (of `pipeline.input_shape`, one is called "noise"), by name: the written graph is checked
    against them.
    """

    pipeline: Pipeline
    model: torch.nn.Module | None = None
    graph: Path | None = None
    output: str | None = None
    parent: Path | None = None
    batches: Mapping[str, np.ndarray] = field(default_factory=dict)
    answers: Mapping[str, np.ndarray] = field(default_factory=dict)


class GraphFormat(Protocol):
    """A format module."""

    FILE: str
    """The file in the artifact's folder that holds the graph; it tells the format."""
    NETWORK: bool
    """Whether the graph holds the network. False for a stand-in of tests: it is made without weights, answers as it
    likes, and no step changes it."""
    PARENT: str | None
    """The format that it is converted from; None where it is written from the network."""
    FINISHED: tuple[str, ...]
    """Suffixes of finished graph files that it can also be written from, such as ".onnx"."""
    PRECISIONS: tuple[str, ...]
    """The precisions that are in its files, "f32" first. Others are left to the runtime, and need no files of their
    own."""
    VERSION: int
    """Raised when the code changes what it writes; part of the artifact's key."""
    DISTRIBUTIONS: tuple[str, ...]
    """The packages whose versions change what is written, as pip calls them; part of the artifact's key."""

    def write(self, source: Source, precision: str, folder: Path) -> int:
        """Write the graph of `source` to `folder` in one of `PRECISIONS`, under stable names; the number of its nodes.

        Twice the same source gives the same bytes. Raises Unsupported for a source that it cannot hold.
        """
        ...

    def call(self, path: Path) -> Call:
        """A function that runs the graph in `path`, a folder or a file, in float32 by the format's own library.

        For checks, never for timing. Raises Unsupported for a format that nothing runs.
        """
        ...

    def layers(self, folder: Path) -> list[Node]:
        """The layers of the graph in `folder`, in order, as settings name them."""
        ...

    def counts(self, folder: Path) -> dict[str, int]:
        """`layers` with weights, those of them with quantized weights (`quantized_layers`), and `quantizers`."""
        ...

    def cost(self, folder: Path, input_shape: Sequence[int], precision: str) -> Cost:
        """What one call of the graph in `folder` costs with inputs of `input_shape`.

        `precision` (a key of `roofline.WIDTH_BYTES`) is what the layers calculate in that are not quantized. Raises
        Unsupported for a format that is not counted, and for a graph without static shapes.
        """
        ...

    def fuse(self, source: Path, pipeline: Pipeline, folder: Path) -> None:
        """Write the graph in `source` with what `pipeline.in_graph` names inside it to `folder`.

        Raises Unsupported for a format that cannot hold that.
        """
        ...


class FinishedFormat(GraphFormat, Protocol):
    """A format that can also be written from finished files: one with suffixes in `FINISHED`."""

    def finished_call(self, path: Path, output: str | None) -> Call:
        """`call` for such a file as it came, with the images and answers of a pipeline; for `output` see `Source`."""
        ...


class EditableFormat(GraphFormat, Protocol):
    """A format whose graphs tools change in memory: what a quantizer needs that takes any of its formats."""

    def read(self, folder: Path) -> Any:
        """The graph in `folder` as an object of the format's library."""
        ...

    def save(self, graph: Any, folder: Path) -> None:
        """Write such an object to `folder`, under stable names."""
        ...

    def layers_of(self, graph: Any) -> list[Node]:
        """`layers` of such an object."""
        ...

    def attends(self, graph: Any) -> bool:
        """Whether the network of such an object attends, as transformers do; see `attention.attends`."""
        ...

    def feed(self, graph: Any, batch: np.ndarray) -> Any:
        """One batch as the format's library takes it for input."""
        ...
