"""What network and graphs refuse of a space, found before a trial is spent.

The network is asked whether it takes each step that changes it, the exported graphs of the seeds whether selectors
select anything and whether there are weights for four bits.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from autoopt.compress import net_steps, selectors, step
from autoopt.compress.export import form_of
from autoopt.compress.maker import Maker
from autoopt.compress.quantize import SWITCH, WEIGHTS_ALONE
from autoopt.compress.tools import tools_for
from autoopt.core.configuration import Scalar
from autoopt.errors import SpaceError, TrialError, Unsupported
from autoopt.inference.formats.names import Node
from autoopt.study.space import Space, seeds

_log = logging.getLogger("autoopt")

QUANTIZE = "quantize"
MATRICES = "Gemm"
"""The type of the layers whose weights NNCF takes down to four bits; those of convolutions it leaves at eight."""


def possible(space: Space, maker: Maker, file: str, *, on_remark: Callable[[str], None] = _log.warning) -> Space:
    """The space without what this network refuses, where it is a shipped one; `on_remark` is told what is left out.

    Raises SpaceError with all that is refused of a space of the user's own, which was read from `file`, and TrialError
    when the network cannot be asked.
    """
    refused = dict(_refused_steps(space, maker))
    if not space.shipped:
        problems = [f"{name}: {reason}" for name, (_, reason) in refused.items()]
        if problems := [*problems, *_of_graphs(space, maker)]:
            raise SpaceError(*(f"{file}: {text}" for text in problems))
        return space
    for name, (values, reason) in refused.items():
        given = ", ".join(map(str, values))
        on_remark(f"{name} {given} is left out of the space {space.name}, since the network refuses it: {reason}")
    return space.without_values({name: values for name, (values, _) in refused.items()})


def _refused_steps(space: Space, maker: Maker) -> Iterator[tuple[str, tuple[Sequence[Scalar], str]]]:
    """The choices, by dotted name, with which a step is refused whatever its other settings are, and why."""
    asked = [(name, settings) for name in net_steps() for settings in _ways(space, name)]
    reasons = maker.refusals(asked) if asked else []
    for name in dict.fromkeys(name for name, _ in asked):
        told = [(ways, reason) for (of, ways), reason in zip(asked, reasons, strict=True) if of == name]
        switch = step(name).SWITCH
        if all(reason for _, reason in told):
            choices = _choices(space, name, switch)
            yield f"{name}.{switch}", ([value for value in choices if value is not None], told[0][1])
            continue
        for key in getattr(step(name), "CHECKED", ()):
            for value in _choices(space, name, key):
                those = [reason for ways, reason in told if ways.get(key) == value]
                if those and all(those):
                    yield f"{name}.{key}", ([value], those[0])


def _ways(space: Space, name: str) -> Iterator[dict[str, Scalar]]:
    """The settings of a step that a network may refuse: all of the space where a few matter, else one."""
    dimension = space.dimension(f"{name}.{step(name).SWITCH}")
    checked = getattr(step(name), "CHECKED", None)
    if dimension is None or checked is None or None not in dimension.choices:
        return  # what has no null cannot be left out: each trial tells why it is refused
    on = [value for value in dimension.choices if value is not None]
    if not on:
        return
    defaults = {key: parameter.default for key, parameter in step(name).PARAMETERS.items()}
    pools = {key: _choices(space, name, key) for key in checked}
    pools = {key: [value for value in values if value is not None] for key, values in pools.items() if values}
    for values in itertools.product(*pools.values()):
        yield {**defaults, step(name).SWITCH: on[0], **dict(zip(pools, values, strict=True))}


def _of_graphs(space: Space, maker: Maker) -> list[str]:
    """What of the space no trial could do with the graphs of its seeds; asks for no graph if nothing depends on it.

    Graphs that no tool quantizes do not count: their layers have other names. A selector counts as wrong where it
    selects nothing in any of them. A graph that cannot be made says nothing: the trial of its seed tells why.
    """
    ignored = [text for text in _choices(space, QUANTIZE, "ignored_layers") if text and not _is_end(str(text))]
    four_bits = [scheme for scheme in _choices(space, QUANTIZE, SWITCH) if scheme == WEIGHTS_ALONE[1]]
    if not ignored and not four_bits:
        return []
    forms = dict.fromkeys(form_of(seed.configuration.runtime) for seed in seeds(space))
    graphs = []
    for form in forms:
        if tools_for(form[0], "int8"):
            with suppress(TrialError):
                graphs.append(maker.layers(maker.export(*form)))
    found = [_of_selector(str(text), graphs) for text in ignored]
    if four_bits and graphs and not any(_has_matrices(nodes) for nodes in graphs):
        found.append(
            f"{QUANTIZE}.{SWITCH}: {WEIGHTS_ALONE[1]} must find weights of linear layers, this network has only "
            "convolutions, whose weights NNCF leaves at eight bits: use int8-weights"
        )
    return [text for text in found if text]


def _choices(space: Space, section: str, key: str) -> Sequence[Scalar]:
    dimension = space.dimension(f"{section}.{key}")
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
