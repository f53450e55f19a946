"""What the exported graphs say of a space before a trial is spent: selectors that select nothing, weights without four
bits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from autoopt.compress import selectors
from autoopt.compress.export import form_of
from autoopt.compress.maker import Maker
from autoopt.compress.quantize import SWITCH, WEIGHTS_ALONE
from autoopt.core.configuration import Scalar
from autoopt.errors import TrialError, Unsupported
from autoopt.inference.formats import graph_format
from autoopt.inference.formats.names import Node
from autoopt.study.space import Space, seeds

QUANTIZE = "quantize"
MATRICES = "Gemm"
"""The type of the layers whose weights NNCF takes down to four bits; those of convolutions it leaves at eight."""


def problems(space: Space, maker: Maker) -> list[str]:
    """What of the space no trial could do with the graphs of its seeds, each with its path; asks for no graph if
    nothing depends on it.

    A selector counts as wrong where it selects nothing in any of them. A graph that cannot be made says nothing: the
    trial of its seed tells why.
    """
    ignored = [text for text in _choices(space, "ignored_layers") if text and not _is_end(str(text))]
    four_bits = [scheme for scheme in _choices(space, SWITCH) if scheme == WEIGHTS_ALONE[1]]
    if not ignored and not four_bits:
        return []
    forms = dict.fromkeys(form_of(seed.configuration.runtime) for seed in seeds(space))
    graphs = []
    for form in forms:
        if graph_format(form[0]).NETWORK:
            with suppress(TrialError):
                graphs.append(maker.layers(maker.export(*form)))
    found = [_of_selector(str(text), graphs) for text in ignored]
    if four_bits and graphs and not any(_has_matrices(nodes) for nodes in graphs):
        found.append(
            f"{QUANTIZE}.{SWITCH}: {WEIGHTS_ALONE[1]} must find weights of linear layers, this network has only "
            "convolutions, whose weights NNCF leaves at eight bits: use int8-weights"
        )
    return [f"{space.name}: {text}" for text in found if text]


def _choices(space: Space, key: str) -> Sequence[Scalar]:
    dimension = space.dimension(f"{QUANTIZE}.{key}")
    return () if dimension is None else dimension.choices


def _is_end(text: str) -> bool:
    return all(part.strip().startswith("end:") for part in text.split(","))


def _of_selector(text: str, graphs: Sequence[Sequence[Node]]) -> str:
    """Why `text` selects nothing in any of the graphs; "" where it does in one."""
    reasons = []
    for nodes in graphs:
        try:
            selectors.select(text, nodes)
        except Unsupported as error:
            reasons.append(error.message)
    return f"{QUANTIZE}.ignored_layers: {reasons[0]}" if graphs and len(reasons) == len(graphs) else ""


def _has_matrices(nodes: Sequence[Node]) -> bool:
    return any(node.types[0] == MATRICES for node in nodes)
