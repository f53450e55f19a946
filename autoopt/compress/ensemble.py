"""Step `ensemble`: of a network that is the mean of several, only the first ones are kept, such as one fold of five."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autoopt.compress.base import Changed
from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.errors import Unsupported
from autoopt.inference.runtimes import has_network
from autoopt.nets.members import is_ensemble, keep_members, members_of
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch

SWITCH = "members"
CHECKED = ("members",)
VERSION = 1
DISTRIBUTIONS: tuple[str, ...] = ("torch",)
PARAMETERS: Mapping[str, Parameter] = {
    "members": Parameter(
        "integer",
        None,
        "how many networks of an ensemble are kept, the first ones; the teacher stays the whole; null: all",
        low=1,
        high=100,
        nullable=True,
    ),
}


def canonical(settings: Mapping[str, Scalar], runtime: Mapping[str, Scalar], host: Host) -> dict[str, Scalar] | None:
    """`settings` with defaults filled in; None where all members are kept."""
    members = settings.get(SWITCH)
    return {SWITCH: members} if members and has_network(str(runtime["name"])) else None


def parts(settings: Mapping[str, Scalar]) -> list[dict[str, Scalar]]:
    """The settings as the one part; empty when the step is off."""
    return [dict(settings)] if settings else []


def left(part: Mapping[str, Scalar]) -> float:
    """1: how many members there are is not known before the network is built."""
    return 1.0


def refusal(settings: Mapping[str, Scalar], model: torch.nn.Module, workload: Workload) -> str:
    """Why the network has not so many members, or is no ensemble, in a sentence; "" where it has."""
    found, members = members_of(model), int(settings[SWITCH] or 1)
    if len(found) == 1:
        return f"ensemble.members must be left out for {workload.name}: it is one network, not several"
    if members > len(found):
        return f"ensemble.members must be at most {len(found)}, the networks that {workload.name} has, got {members}"
    return ""


def change(
    settings: Mapping[str, Scalar], model: torch.nn.Module, teacher: torch.nn.Module, workload: Workload
) -> Changed:
    """Keep the first members; a network that is no ensemble has one, itself.

    The report has how many there were and are. Raises Unsupported where there are fewer than asked for.
    """
    found, members = members_of(model), int(settings[SWITCH] or 1)
    if members > len(found):
        raise Unsupported(refusal(settings, model, workload))
    if is_ensemble(model):
        keep_members(model, members)
    return Changed(model, {"members": members, "of": len(found)})
