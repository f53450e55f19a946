"""Low-rank factors of layers: a linear or 1 x 1 layer becomes two (SVD), a convolution three (Tucker-2 or CP).

A factored layer is a `Sequential`: into the rank, the kernel, and out again. Sources: Denton et al. 2014 (SVD),
Kim et al. 2016 (Tucker-2), Lebedev et al. 2015 (CP).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

Spec = Mapping[str, Any]
"""How a layer is factored: `method` (svd, tucker, cp) and `ranks`, one for svd and cp, two (in, out) for tucker."""
MARK = "low_rank"
"""The attribute of a factored layer that holds its `Spec`, for storing the network."""
CP_SWEEPS = 15
TUCKER_SWEEPS = 3
TINY = 1e-12


def layers(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """The layers that can be factored: linear ones, and convolutions neither grouped nor transposed."""
    from torch import nn

    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) and layer.groups == 1):
            yield name, layer


def spec(layer: torch.nn.Module, method: str, keep: float, by: str) -> Spec | None:
    """How to factor the layer, or None where that would not save arithmetic.

    `keep` (0 to 1) is the share of the energy with `by` "energy", else of the ranks. Energy is the sum of squared
    singular values of the weight, unfolded along its outputs and along its inputs.
    """
    weight = _matrix(layer)
    out, inputs, places = weight.shape
    if places == 1:
        most = min(out, inputs)
        rank = _rank(weight[:, :, 0], keep) if by == "energy" else math.ceil(keep * most)
        return {"method": "svd", "ranks": [rank]} if rank * (out + inputs) < out * inputs else None
    ranks = [
        _rank(np.moveaxis(weight, axis, 0).reshape(size, -1), keep) if by == "energy" else math.ceil(keep * size)
        for axis, size in ((1, inputs), (0, out))
    ]
    if method == "cp":
        rank = max(ranks)
        saves = rank * (inputs + places + out) < out * inputs * places
        return {"method": "cp", "ranks": [rank]} if saves else None
    narrow, wide = ranks
    saves = narrow * inputs + narrow * wide * places + wide * out < out * inputs * places
    return {"method": "tucker", "ranks": ranks} if saves else None


def _rank(matrix: np.ndarray, energy: float) -> int:
    narrow = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    squares = np.maximum(np.linalg.eigvalsh(narrow @ narrow.T)[::-1], 0.0)
    return int(np.searchsorted(np.cumsum(squares), energy * squares.sum() * (1 - 1e-12)) + 1)


def factored(layer: torch.nn.Module, how: Spec) -> torch.nn.Sequential:
    """The layer in factors, with weights whose product is as near to its own as the ranks allow."""
    parts = blank(layer, how)
    weight = _matrix(layer)
    if how["method"] == "svd":
        matrix = weight[:, :, 0]
        out = _leading(matrix, how["ranks"][0])
        into = out.T @ matrix
        sizes = np.linalg.norm(into, axis=1)
        root = np.sqrt(np.maximum(sizes, TINY * (sizes.max() or 1.0)))
        values = [into / root[:, None], out * root]  # both factors of one size: they are trained
    elif how["method"] == "tucker":
        into, core, out = _tucker(weight, *how["ranks"])
        values = [into.T, core, out]
    else:
        out, into, places = _cp(weight, how["ranks"][0])
        values = [into.T, places.T, out]
    _fill(parts, values, getattr(layer, "bias", None))
    return parts


def blank(layer: Any, how: Spec) -> torch.nn.Sequential:
    """The factors of a layer with arbitrary weights, for reading a stored network into."""
    from torch import nn

    parts = nn.Sequential(*_parts(layer, how))
    setattr(parts, MARK, {"method": how["method"], "ranks": list(how["ranks"])})
    return parts


def _parts(layer: Any, how: Spec) -> list[torch.nn.Module]:
    from torch import nn

    biased = layer.bias is not None
    first, last = how["ranks"][0], how["ranks"][-1]
    if isinstance(layer, nn.Linear):
        return [nn.Linear(layer.in_features, first, bias=False), nn.Linear(last, layer.out_features, bias=biased)]
    kind: Any = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(layer.kernel_size)]
    into, out = kind(layer.in_channels, first, 1, bias=False), kind(last, layer.out_channels, 1, bias=biased)
    if how["method"] == "svd":
        into.stride = layer.stride
        return [into, out]
    core = copy.deepcopy(layer)  # keeps stride, padding and whatever else its class has
    groups = first if how["method"] == "cp" else 1
    core.in_channels, core.out_channels, core.groups, core.bias = first, last, groups, None
    core.weight = nn.Parameter(layer.weight.new_zeros((last, first // groups, *layer.kernel_size)), requires_grad=False)
    return [into, core, out]


def put(model: torch.nn.Module, name: str, layer: torch.nn.Module) -> None:
    """Replace the layer called `name` by another."""
    path, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(path), attribute, layer)


def specs(model: torch.nn.Module) -> dict[str, Spec]:
    """How the factored layers of a network were made, by name."""
    return {name: getattr(layer, MARK) for name, layer in model.named_modules() if hasattr(layer, MARK)}


def _matrix(layer: Any) -> np.ndarray:
    """The weight as float64 (outputs, inputs, places of the kernel)."""
    weight: np.ndarray = layer.weight.detach().double().numpy()
    return weight.reshape(*weight.shape[:2], -1)


def _tucker(weight: np.ndarray, narrow: int, wide: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors (inputs, narrow), (wide, narrow, places), (outputs, wide): orthogonal iteration from the unfoldings."""
    out = _leading(weight.reshape(len(weight), -1), wide)
    into = _leading(np.moveaxis(weight, 1, 0).reshape(weight.shape[1], -1), narrow)
    for _ in range(TUCKER_SWEEPS):
        out = _leading(np.einsum("oip,ir->orp", weight, into, optimize=True).reshape(len(weight), -1), wide)
        into = _leading(np.einsum("oip,or->irp", weight, out, optimize=True).reshape(weight.shape[1], -1), narrow)
    return into, np.einsum("oip,or,is->rsp", weight, out, into, optimize=True), out


def _leading(matrix: np.ndarray, rank: int) -> np.ndarray:
    """The first left singular vectors, (rows, rank); of a wide matrix those of its Gram matrix, which is less work."""
    if len(matrix) <= matrix.shape[1]:
        return np.linalg.eigh(matrix @ matrix.T)[1][:, ::-1][:, :rank].copy()  # torch takes no negative strides
    return np.linalg.svd(matrix, full_matrices=False)[0][:, :rank]


def _cp(weight: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors (outputs, rank), (inputs, rank), (places, rank) by alternating least squares, from a seeded start."""
    random = np.random.default_rng(0)
    factors: list[np.ndarray] = [random.standard_normal((size, rank)) for size in weight.shape]
    for _ in range(CP_SWEEPS):
        for mode in range(3):
            one, other = (factors[place] for place in range(3) if place != mode)
            product = (one[:, None] * other[None]).reshape(-1, rank)
            gram = (one.T @ one) * (other.T @ other) + 1e-9 * np.eye(rank)
            unfolded = np.moveaxis(weight, mode, 0).reshape(weight.shape[mode], -1)
            factors[mode] = np.linalg.solve(gram, (unfolded @ product).T).T
    sizes = [np.maximum(np.linalg.norm(factor, axis=0), TINY) for factor in factors]
    even = np.prod(sizes, axis=0) ** (1 / 3)  # of equal size, so that none of the layers sees extreme numbers
    out, into, places = (factor / size * even for factor, size in zip(factors, sizes, strict=True))
    return out, into, places


def _fill(parts: Any, values: list[np.ndarray], bias: Any) -> None:
    import torch

    with torch.no_grad():
        for part, value in zip(parts, values, strict=True):
            part.weight.copy_(torch.from_numpy(np.ascontiguousarray(value)).reshape(part.weight.shape))
        if bias is not None:
            parts[-1].bias.copy_(bias)
