"""The optimisers of trainings: AdamW, and one whose state has eight bits instead of thirty-two (torchao).

The second is an optional package (`autoopt[training]`). It compiles its step for every shape of weights that it meets,
so that the first step takes long and needs a C++ compiler.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from autoopt.core.packages import is_installed
from autoopt.errors import Unsupported

if TYPE_CHECKING:
    import torch

ADAMW, ADAMW_8BIT = "adamw", "adamw-8bit"
COMPILERS = ("g++", "clang++", "c++")
PARTS = "__tensor_flatten__"
"""The method by which a tensor that is made of others names them."""


def optimizer(
    name: str, weights: Sequence[torch.nn.Parameter], *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """The optimiser called `name` for these weights. Raises Unsupported with the reason where it cannot run here."""
    made: torch.optim.Optimizer = OPTIMIZERS[name](weights, lr=learning_rate, weight_decay=weight_decay)
    return made


def set_rate(made: torch.optim.Optimizer, rate: float) -> None:
    """Give the optimiser another learning rate; torchao has it as a tensor, which must stay the same one."""
    for group in made.param_groups:
        if isinstance(group["lr"], float):
            group["lr"] = rate
        else:
            group["lr"].fill_(rate)


def state_bytes(made: torch.optim.Optimizer) -> int:
    """The bytes that the optimiser keeps from step to step."""
    return sum(tensor_bytes(value) for state in made.state.values() for value in state.values())


def tensor_bytes(value: object) -> int:
    """The bytes of a tensor, of one that is made of others those of its parts; 0 of anything else."""
    import torch

    if not isinstance(value, torch.Tensor):
        return 0
    if not hasattr(value, PARTS):
        return value.numel() * value.element_size()
    names, _ = getattr(value, PARTS)()
    return sum(tensor_bytes(getattr(value, name)) for name in names)


def why_not(
    name: str, *, installed: Callable[[str], bool] = is_installed, which: Callable[[str], object] = shutil.which
) -> str:
    """Why the optimiser called `name` cannot run here, and what to do; empty where it can."""
    if name == ADAMW:
        return ""
    if not installed("torchao"):
        return "the 8-bit optimiser is torchao's, which is not installed: pip install 'autoopt[training]'"
    compiler = os.environ.get("CXX")
    if not any(which(found) for found in ([compiler] if compiler else COMPILERS)):
        return f"torchao compiles its 8-bit optimiser, and no C++ compiler ({', '.join(COMPILERS)}) was found"
    return ""


def _adamw(weights: Sequence[torch.nn.Parameter], **settings: Any) -> torch.optim.Optimizer:
    import torch

    return torch.optim.AdamW(weights, **settings)


def _adamw_8bit(weights: Sequence[torch.nn.Parameter], **settings: Any) -> torch.optim.Optimizer:
    reason = why_not(ADAMW_8BIT)
    if reason:
        raise Unsupported(reason, stage="train")
    from torchao.optim import AdamW8bit

    made: torch.optim.Optimizer = AdamW8bit(list(weights), **settings)
    return made


OPTIMIZERS: dict[str, Callable[..., Any]] = {ADAMW: _adamw, ADAMW_8BIT: _adamw_8bit}
"""By name, a function of the weights, `lr` and `weight_decay`."""
