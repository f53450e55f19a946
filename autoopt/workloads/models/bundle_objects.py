"""MONAI's transforms that the code of a trusted bundle made, as the configuration that would make them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any

from autoopt.errors import WorkloadError

MODULE = "monai.transforms."
UNSEEN = {"reader", "prune_meta_pattern", "prune_meta_sep", "args"}
"""Arguments that a transform does not keep; they are taken to have their defaults."""
KEPT_AS = {"channel_dim": "input_channel_dim"}
"""Arguments that a transform keeps by another name."""


def described(made: Any, where: str) -> Any:
    """A Compose, a transform or a list of them as plain data; anything else as it is.

    Raises WorkloadError for a transform that does not tell one of its arguments.
    """
    if isinstance(made, list | tuple):
        return [described(item, f"{where}.{place}") for place, item in enumerate(made)]
    kind = type(made)
    if not f"{kind.__module__}.".startswith(MODULE):
        return made
    target = f"{MODULE}{kind.__name__}"
    if kind.__name__ == "Compose":
        parts = described(made.transforms, f"{where}.transforms")
        return {"_target_": target, "transforms": parts, "lazy": bool(made.lazy)}
    return {"_target_": target, **dict(_arguments(made, where))}


def _arguments(made: Any, where: str) -> Iterator[tuple[str, Any]]:
    """The arguments that are not at their defaults: a transform of a dictionary keeps some in one of an array."""
    inner = [item for item in vars(made).values() if f"{type(item).__module__}.".startswith(MODULE)]
    keys = list(getattr(made, "keys", ()))
    for name, parameter in inspect.signature(type(made)).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        kept = KEPT_AS.get(name, name)
        holder = next((item for item in (made, *inner) if hasattr(item, kept)), None)
        if holder is not None:
            value = _plain(getattr(holder, kept))
            if name != "keys" and isinstance(value, list) and len(set(map(str, value))) == 1:
                value = value[0] if len(value) == len(keys) or value[0] is None else value  # the same for each key
            if value != _plain(parameter.default):
                yield name, value
        elif name not in UNSEEN:
            raise WorkloadError(
                f"{where}: a {type(made).__name__} that the bundle's code made does not tell its {name}: write the "
                "transforms into the configuration"
            )


def _plain(value: Any) -> Any:
    """A value as configurations write it: names of types and modes, lists."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist") and not isinstance(value, type):
        return _plain(value.tolist())
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is None or isinstance(value, bool | int | float) or type(value) is str:
        return value
    return str(getattr(value, "__name__", value)).rpartition(".")[2]
