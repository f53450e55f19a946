"""Selectors of layers, comma-separated, to exact node names.

`name:NODE`, `pattern:REGEX`, `type:OPERATION`; `end:first` and `end:last` are the layers with weights that see the
input and give the output of any network.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from autoopt.core.configuration import Scalar
from autoopt.errors import Unsupported
from autoopt.inference.formats.names import WEIGHTED, Node, enlarging

KINDS = ("name", "pattern", "type", "end")
ENDS = {"first": 0, "last": -1}
SHOWN = 5


def canonical(text: str | None) -> str | None:
    """The canonical spelling of a list of selectors: prefixed, sorted, without duplicates; None for an empty list."""
    selectors = {_prefixed(part.strip()) for part in (text or "").split(",") if part.strip()}
    return ",".join(sorted(selectors)) or None


def select(text: str | None, nodes: Sequence[Node]) -> list[str]:
    """The sorted names of all graph nodes that `text` selects.

    A name is a node (`a.conv/Conv`) or a module (`a.conv`); a pattern must match a whole name; a type may be
    written as in ONNX or as in OpenVINO. The nodes are in the order of the graph. Raises Unsupported for a selector
    that selects nothing.
    """
    chosen: set[str] = set()
    for selector in (canonical(text) or "").split(","):
        if selector:
            kind, _, value = selector.partition(":")
            hits = _end(value, nodes) if kind == "end" else [node for node in nodes if _matches(kind, value, node)]
            if not hits:
                raise Unsupported(f"{selector!r} selects no layer of this graph: {_hint(kind, value, nodes)}")
            chosen.update(name for node in hits for name in node.names)
    return sorted(chosen)


def ignored_nodes(settings: Mapping[str, Scalar], nodes: Sequence[Node]) -> list[str]:
    """The names of the nodes that no quantizer may touch: those of `ignored_layers`, and what enlarges an output.

    Raises Unsupported for a selector that selects nothing.
    """
    text = settings.get("ignored_layers")
    return [*select(None if text is None else str(text), nodes), *enlarging(nodes)]


def _prefixed(part: str) -> str:
    kind, colon, value = part.partition(":")
    return f"{kind.strip()}:{value.strip()}" if colon and kind.strip() in KINDS else f"name:{part}"


def _end(value: str, nodes: Sequence[Node]) -> list[Node]:
    """The first or the last layer with weights, in the order of the graph."""
    if value not in ENDS:
        raise Unsupported(f"'end:{value}' must be end:{' or end:'.join(ENDS)}")
    weighted = [node for node in nodes if node.types[0] in WEIGHTED]
    return [weighted[ENDS[value]]] if weighted else []


def _matches(kind: str, value: str, node: Node) -> bool:
    if kind == "type":
        return value.lower() in (name.lower() for name in node.types)
    if kind == "pattern":
        try:
            return any(re.fullmatch(value, alias) for alias in node.aliases)
        except re.error as error:
            raise Unsupported(f"'pattern:{value}' must be a regular expression: {error}") from error
    return value in node.names or any(value in (alias, alias.rpartition("/")[0]) for alias in node.aliases)


def _hint(kind: str, value: str, nodes: Sequence[Node]) -> str:
    types = f"types {', '.join(sorted({node.types[0] for node in nodes}))}"
    if kind == "type":
        return f"it has {types}"
    names = [node.aliases[0] for node in nodes]
    near = difflib.get_close_matches(value, names, n=SHOWN, cutoff=0.3) or names[:SHOWN]
    return f"the nearest names are {', '.join(near)}; it has {types}"
