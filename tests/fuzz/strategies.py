"""How inputs are damaged: bytes by flips, cuts and insertions, plain data by odd values in odd places."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FACTOR = int(os.environ.get("FUZZ", "1"))
"""How many times the usual number of examples is tried; `make fuzz` sets it. Above 1 they are new ones each time."""

ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**63,
    10**400,
    1.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "a",
    "\0",
    "\ud800",
    "../../etc/passwd",
    "/dev/zero",
    "@",
    "@network_def",
    "$__import__('os')._exit(1)",
    "long " * 20_000,
    [],
    {},
    [[]],
    [None] * 3,
    [1, "a", None],
    list(range(20_000)),
    {"": {}},
    {"a": [1]},
    {str(number): number for number in range(3000)},
]
"""Values that somebody may have put where another was expected."""


def examples(count: int) -> settings:
    """The settings of a fuzz test that tries `count` inputs, or a multiple of them."""
    return settings(
        max_examples=count * FACTOR if FACTOR > 1 else -(-count // 3),  # the tests must take minutes, not more
        derandomize=FACTOR == 1,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with some bits flipped, or cut, or with others in between."""
    found = bytearray(data)
    kind = draw(st.sampled_from(["flip", "flip", "flip", "set", "cut", "insert", "repeat"]))
    place = draw(st.integers(0, max(len(found) - 1, 0)))
    if kind == "flip":
        for _ in range(draw(st.integers(1, 8))):
            found[draw(st.integers(0, len(found) - 1))] ^= 1 << draw(st.integers(0, 7))
    elif kind == "set":
        odd = draw(st.sampled_from([b"\xff" * 4, b"\0" * 8, b"\xff\xff\xff\x7f", b"\x7f" * 8, b"\xff" * 8]))
        found[place : place + len(odd)] = odd
    elif kind == "cut":
        del found[place:]
    elif kind == "insert":
        found[place:place] = draw(st.binary(min_size=1, max_size=40))
    else:
        found[place:place] = found[place : place + draw(st.integers(1, 200))]
    return bytes(found)


@st.composite
def altered(draw: st.DrawFn, document: Any) -> Any:
    """Plain data with up to three of its values replaced by odd ones, removed, or joined by others."""
    found = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(found))
        if not places:
            break
        parent, key = places[draw(st.integers(0, len(places) - 1))]
        action = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
        value = draw(st.sampled_from(ODD) | st.text(max_size=8) | st.integers() | st.floats())
        if action == "remove":
            del parent[key]
        elif action == "replace":
            parent[key] = copy.deepcopy(value)
        elif isinstance(parent, list):
            parent.insert(key, copy.deepcopy(value))
        else:
            parent[draw(st.text(max_size=8))] = copy.deepcopy(value)
    return found


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every value below a document, as the list or mapping it is in and its key there."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(items)[:200]:
        yield document, key
        if isinstance(value, dict | list):
            yield from _places(value)


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    """Lists within lists as JSON or YAML; too deep for any function that calls itself."""
    return opening * depth + closing * depth


def doubling(levels: int) -> str:
    """YAML whose aliases double at every level: a few lines that stand for 2 to the power of `levels` values."""
    lines = ["x0: &x0 [a, a]"]
    lines += [f"x{level}: &x{level} [*x{level - 1}, *x{level - 1}]" for level in range(1, levels)]
    return "\n".join(lines) + "\n"
