"""What each operation of an exported graph does to channels.

A rule takes the channel sets and a node of the graph, joins or keeps channels, and returns the axes of the result; it
returns None where all channels of the arguments must be kept. Rules of layers are in layer_rules.py, those of what only
moves, cuts or joins tensors in shape_rules.py. An operation that has no rule and is not pointwise keeps all channels of
its arguments.
"""

from __future__ import annotations

import operator
from typing import Any

from autoopt.nets import layer_rules, shape_rules
from autoopt.nets.channel_sets import Axes, ChannelSets, free, nodes_in, shape_of
from autoopt.nets.rule_table import RULES, Rule, rule

ENTERED = (layer_rules, shape_rules)
"""The modules whose rules stand in the table since they are imported here."""


def called(sets: ChannelSets, node: Any) -> Any:
    """The axes of the result of an operation, after its rule joined or kept the channels of its arguments."""
    known = _rule_of(node.target)
    axes = None if known is None else known(sets, node)
    if axes is None:
        for item in nodes_in((node.args, node.kwargs)):
            sets.keep(sets.of(item))
        return free(node)
    return axes


def _rule_of(target: Any) -> Rule | None:
    import torch

    if target is operator.getitem:
        return lambda sets, node: sets.of(node.args[0])[node.args[1]]
    if not isinstance(target, torch._ops.OpOverload):
        return None
    name = target._schema.name.rpartition("::")[2]
    known = RULES.get(name) or RULES.get(name.rstrip("_"))
    return _pointwise if known is None and _is_pointwise(target, name) else known


def _is_pointwise(target: Any, name: str) -> bool:
    """Whether torch calls the operation pointwise, or the variant of it that does not write into its argument."""
    import torch

    plain = getattr(getattr(torch.ops.aten, name.rstrip("_"), None), target._overloadname, target)
    return torch.Tag.pointwise in {*target.tags, *plain.tags}


@rule("hardswish", "log_sigmoid", "floor_divide", "copy", "__and__", "__or__", "__xor__")  # torch does not say so
def _pointwise(sets: ChannelSets, node: Any) -> Axes:
    """Terms are aligned at their last axis; one of size 1 is repeated."""
    shape = shape_of(node)
    result: Axes = [None] * len(shape)
    seen = [False] * len(shape)
    for item in nodes_in((node.args, node.kwargs)):
        sizes, axes = shape_of(item), sets.of(item)
        for place in range(1, len(sizes) + 1):
            if sizes[-place] != shape[-place]:
                sets.keep([axes[-place]])
            elif seen[-place]:
                result[-place] = sets.join(result[-place], axes[-place])
            else:
                result[-place], seen[-place] = axes[-place], True
    return result
