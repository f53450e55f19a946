"""The table of rules: what pruning knows of an operation is one function, entered under the operation's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autoopt.nets.channel_sets import ChannelSets

Rule = Callable[[ChannelSets, Any], Any]
RULES: dict[str, Rule] = {}
"""Name of an ATen operation, without the underscore of the in-place variant, to its rule."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Enter the decorated function in `RULES` under these names."""

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return enter
