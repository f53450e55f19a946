"""A changed network in a folder: weights as safetensors; resolution, factored layers and sizes of layers as JSON.

Nothing in the folder is executed: the workload builds the network, the files say what of it is smaller.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.core.plain_text import short
from autoopt.errors import WeightsError
from autoopt.nets import clipping, low_rank, one_layer, outputs, resolution
from autoopt.nets.members import is_ensemble, keep_members, members_of
from autoopt.nets.surgery import resize, sizes
from autoopt.nets.weight_parts import load_all
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch

FORMAT = "net"
WEIGHTS, STRUCTURE = "net.safetensors", "structure.json"
SCHEMA = 1


@dataclass(frozen=True)
class Size:
    """How large a network is: the number of its weights, and the multiply-accumulates of one call."""

    parameters: int
    macs: int


def size_of(model: torch.nn.Module, batch: torch.Tensor) -> Size:
    """The size of the network for an input like `batch`; only matrix products and convolutions are counted."""
    from torch.utils.flop_counter import FlopCounterMode

    blank = copy.deepcopy(model).to("meta")
    with FlopCounterMode(display=False) as counter:
        blank(batch.to("meta"))
    return Size(sum(item.numel() for item in model.parameters()), counter.get_total_flops() // 2)


def write_net(model: torch.nn.Module, folder: Path) -> None:
    """Write the network to `folder`, which must exist."""
    from safetensors.torch import save_file

    # A copy of each: some networks have one weight under two names, which the format refuses to share.
    save_file(
        {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}, folder / WEIGHTS
    )
    structure = {
        "schema": SCHEMA,
        **({"network": one_layer.NAME} if one_layer.is_one_layer(model) else {}),
        **({"members": len(members_of(model))} if is_ensemble(model) else {}),
        "coarse": resolution.factor_of(model),
        "blocks": resolution.blocks_of(model),
        "factored": low_rank.specs(model),
        "sizes": sizes(model),
        **({"clips": clips} if (clips := clipping.specs(model)) else {}),
    }
    (folder / STRUCTURE).write_text(json.dumps(structure, indent=1, sort_keys=True) + "\n")


def read_net(
    workload: Workload,
    weights: Path,
    folder: Path | None = None,
    *,
    on_remark: Callable[[str], None] = lambda remark: None,
) -> torch.nn.Module:
    """The network stored in `folder`, else the workload's own with `weights`; in evaluation mode, without gradients.

    `on_remark` is told how the weights were found in their file, where that is not plain.
    Raises WeightsError when the files do not fit the network, WorkloadError when it cannot be built.
    """
    if folder is None:
        model = outputs.build(workload)
        remark = load_all(model, workload, weights)
        if remark:
            on_remark(remark)
    else:
        model = _restored(workload, folder)
    return model.eval().requires_grad_(False)


def _restored(workload: Workload, folder: Path) -> torch.nn.Module:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        structure = json.loads((folder / STRUCTURE).read_text())
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"the network in {folder} cannot be read: {error}") from error
    if not isinstance(structure, dict) or structure.get("schema") != SCHEMA:
        raise WeightsError(f"{folder / STRUCTURE} must have the schema {SCHEMA}")
    other, answered = structure.get("network"), workload.pipeline.output_shape[2:]
    if other not in (None, one_layer.NAME):
        raise WeightsError(f"{folder / STRUCTURE} names a network that this version does not know: {short(other)}")
    model = outputs.build(workload) if other is None else one_layer.build(workload)
    if "members" in structure and is_ensemble(model):
        keep_members(model, structure["members"])
    if structure.get("coarse", 1) > 1:
        if structure.get("blocks", resolution.MEANS) == resolution.CHANNELS:
            resolution.take_blocks(model, structure["coarse"], output=bool(answered))
        else:
            resolution.reduce_resolution(model, structure["coarse"], answered)
    unknown = [name for name in structure["factored"] if name not in dict(model.named_modules())]
    if unknown:
        raise WeightsError(f"the stored network must be one of this workload, {', '.join(unknown[:5])} is not in it")
    for name, how in structure["factored"].items():
        low_rank.put(model, name, low_rank.blank(model.get_submodule(name), how))
    resize(model, structure["sizes"], tensors)
    try:
        clipping.put(model, structure.get("clips", {}))
    except AttributeError as error:
        raise WeightsError(
            f"the stored network must be one of this workload, its bounds do not fit: {error}"
        ) from error
    return model
