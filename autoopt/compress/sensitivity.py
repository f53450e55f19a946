"""Which layers to keep in float: groups of layers ranked by the quantization noise that each of them causes, divided by
the measured time that keeping it in float costs.

The whole graph is quantized once. Each group is then put back into float in a copy of it, without calibrating anew. The
copy's outputs are compared with those of the float graph, and its calls are timed in turns with the quantized graph's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.compress import quantize
from autoopt.compress.comparison import noise_to_signal
from autoopt.compress.quantize_nncf import quantized
from autoopt.core.configuration import Scalar
from autoopt.core.quick_timing import least_seconds
from autoopt.core.store import Artifact
from autoopt.errors import Unsupported
from autoopt.inference.formats import format_of, graph_format
from autoopt.inference.formats.base import Call
from autoopt.inference.formats.names import WEIGHTED, Node, enlarging
from autoopt.inference.formats.openvino import attends, layers_of
from autoopt.inference.formats.openvino_cost import read_graph
from autoopt.workloads.contract import Workload

STAGE = "sensitivity"
VERSION = 2
DISTRIBUTIONS: tuple[str, ...] = ("nncf", "openvino", "onnx")
FILE = "ranking.json"
MOST_GROUPS = 16
FEWEST_GROUPS = 4
TILES = 4
"""Calibration tiles on which outputs are compared."""
TURNS, CALLS = 6, 3
"""Timing: turns of each graph, and calls of one turn; the fastest call counts."""
CALIBRATION_TILES = 16
LEAST_COST = 0.002
"""The least cost of a group, as a fraction of the time of a call: smaller differences in time are noise."""


@dataclass(frozen=True)
class Rank:
    """One group of layers, and what keeping it in float does to the quantized graph.

    `layers` are their stable names. `recovered` is the fraction of the quantization noise that vanishes, `cost_s` the
    seconds by which a call gets slower, `call_s` the seconds of a call of the quantized graph.
    """

    group: str
    layers: tuple[str, ...]
    recovered: float
    cost_s: float
    call_s: float

    @property
    def worth(self) -> float:
        """The recovered noise divided by the relative cost: the ranking is in this order."""
        return self.recovered / max(self.cost_s / self.call_s, LEAST_COST)


def rank(source: Path, workload: Workload, weight_bits: Scalar) -> list[Rank]:
    """The groups of layers of the float graph in `source`, the most worthwhile first.

    The graph may be of any format that OpenVINO reads. Raises Unsupported where it does not, where the graph cannot be
    quantized or has no layers with weights, BadData for a case that cannot be read.
    """
    plain = read_graph(source / graph_format(format_of(source)).FILE)
    tiles = quantize.calibration_tiles(workload, CALIBRATION_TILES)
    nodes = layers_of(plain)
    found = grouped([_layer_of(node) for node in nodes if node.types[0] in WEIGHTED])
    if len(found) < 2:
        raise Unsupported("a ranking needs at least two groups of layers with weights, this graph has fewer")
    settings: dict[str, Scalar] = {"preset": "performance", "bias_correction": "fast", "weight_bits": weight_bits}
    integers = quantized(plain.clone(), settings, tiles, enlarging(nodes), attends(plain))
    wanted = [_answers(plain)(tile) for tile in tiles[:TILES]]
    call = _answers(integers)
    noise = _noise(call, tiles, wanted)
    ranks = []
    for group, layers in found.items():
        mixed = _answers(_in_float(integers.clone(), plain, layers))
        recovered = 1 - _noise(mixed, tiles, wanted) / noise if noise > 0 else 0.0
        pair = [partial(item, tiles[0]) for item in (call, mixed)]
        call_s, mixed_s = least_seconds(pair, turns=TURNS, calls_each=CALLS)
        ranks.append(Rank(group, tuple(layers), recovered, mixed_s - call_s, call_s))
    return sorted(ranks, key=lambda item: item.worth, reverse=True)


def grouped(layers: Sequence[str]) -> dict[str, list[str]]:
    """Layers (each called MODULE/OPERATION) grouped by module, in the order of the graph.

    Modules are split as deeply as gives at most `MOST_GROUPS` groups; a flat list of many layers is cut into runs.
    """
    best: dict[str, list[str]] = {}
    deepest = max((name.count(".") for name in layers), default=0) + 1
    for depth in range(1, deepest + 1):
        groups: dict[str, list[str]] = {}
        for name in layers:
            groups.setdefault(".".join(name.rpartition("/")[0].split(".")[:depth]), []).append(name)
        if len(groups) > len(best) and (len(groups) <= MOST_GROUPS or len(best) < FEWEST_GROUPS):
            best = groups
    if len(best) <= MOST_GROUPS:
        return best
    size = -(-len(layers) // MOST_GROUPS)  # one flat list of many layers: runs of equal length
    runs = [list(layers[start : start + size]) for start in range(0, len(layers), size)]
    return {f"{run[0].rpartition('/')[0]}..{run[-1].rpartition('/')[0]}": run for run in runs}


def write(ranks: Sequence[Rank], folder: Path) -> Mapping[str, Any]:
    """Write a ranking to a folder; returns the report of the artifact."""
    (folder / FILE).write_text(json.dumps([asdict(item) for item in ranks], indent=1) + "\n")
    return {"groups": len(ranks)}


def read(artifact: Artifact) -> list[Rank]:
    """The ranking that `write` wrote."""
    items = json.loads((artifact.path / FILE).read_text())
    return [Rank(**{**item, "layers": tuple(item["layers"])}) for item in items]


def kept(ranks: Sequence[Rank], count: int) -> str:
    """The selectors of the layers of the first `count` groups.

    Raises Unsupported when no group would be left to quantize.
    """
    if count >= len(ranks):
        raise Unsupported(f"keep_float must leave a group of layers to quantize: there are {len(ranks)}, got {count}")
    return ",".join(f"name:{layer}" for item in ranks[:count] for layer in item.layers)


def table(ranks: Sequence[Rank]) -> Iterator[tuple[str, int, float, float, float]]:
    """Rows for a table: group, number of layers, fraction of the noise recovered, cost and cost so far in ms."""
    total = 0.0
    for item in ranks:
        total += item.cost_s * 1e3
        yield item.group, len(item.layers), item.recovered, item.cost_s * 1e3, total


def _layer_of(node: Node) -> str:
    return node.aliases[0]


def _answers(model: Any) -> Call:
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda batch: np.array(compiled(batch)[0])


def _noise(call: Call, tiles: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """The mean square of the error over the variance of the wanted outputs."""
    return noise_to_signal([call(tile) for tile in tiles[:TILES]], wanted, around_mean=True)


def _in_float(model: Any, plain: Any, layers: Sequence[str]) -> Any:
    """The quantized `model` with weights and inputs of these layers taken from the float graph `plain`, in place."""
    from openvino import opset13

    weights = {name: op.input_value(1) for name, op in _weighted(plain) if name in layers}
    for name, op in _weighted(model):
        if name not in weights:
            continue
        entry = op.input_value(0).get_node()
        if entry.get_type_name() == "FakeQuantize":
            op.input(0).replace_source_output(entry.input_value(0))
        source = weights[name].get_node()
        if source.get_type_name() == "Constant":
            op.input(1).replace_source_output(opset13.constant(source.get_data()).output(0))
        elif op.input_value(1).get_node().get_type_name() == "FakeQuantize":  # a product of two activations
            op.input(1).replace_source_output(op.input_value(1).get_node().input_value(0))
    model.validate_nodes_and_infer_types()
    return model


def _weighted(model: Any) -> Iterator[tuple[str, Any]]:
    """The operations with weights, by the name of their layer."""
    by_name = {op.get_friendly_name(): op for op in model.get_ordered_ops()}
    for node in layers_of(model):
        if node.types[0] in WEIGHTED:
            yield _layer_of(node), by_name[node.names[0]]
