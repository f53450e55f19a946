"""Step `quantize`: post-training quantization to integers, calibrated on training cases.

The work is done by the tools of `tools.TOOLS`. This file says what may be set, what of it has an effect where (which
schemes the runtime takes, which tools read its format), and checks the result. Before the scheme int8-qat the network
is trained as integers, which is the last thing done to it (`training`); then its graph is quantized as for int8.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.compress import selectors, training_settings
from autoopt.compress.comparison import signal_to_noise_db
from autoopt.compress.tools import TOOLS, tool, tools_for
from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.core.store import Artifact
from autoopt.errors import BadData, Numeric, Unsupported
from autoopt.inference.formats import caller, format_of, graph_format
from autoopt.inference.formats.base import Call
from autoopt.inference.runtimes import runtime as runtime_module
from autoopt.workloads.contract import Workload

SWITCH = "scheme"
VERSION = 4
DISTRIBUTIONS: tuple[str, ...] = tuple(sorted({item for name in TOOLS for item in tool(name).DISTRIBUTIONS}))
WEIGHTS_ALONE = ("int8-weights", "int4-weights")
"""Schemes that leave activations in float: they need no calibration."""
TRAINED = "int8-qat"
"""The scheme whose network is trained for it."""
TRAINER = "recover"
"""The step that trains it."""
QAT_STEPS = 120
_OF_TRAINED: Mapping[str, Scalar] = {"range_estimator": "minmax", "bias_correction": "fast"}
"""What has one value for int8-qat: ranges are those that were trained, as a whole."""
CALIBRATION_SEED = 0

_COMMON: Mapping[str, Parameter] = {
    "scheme": Parameter(
        "choice",
        "int8",
        "int8: weights and activations; int8-qat: the same after quantization-aware training with learnt clipping; "
        "int8-weights, int4-weights: weights alone (OpenVINO); null: nothing",
        ("int8", *WEIGHTS_ALONE, TRAINED),
        nullable=True,
    ),
    "tool": Parameter(
        "choice", next(iter(TOOLS)), "who quantizes; an OpenVINO graph always goes to nncf", tuple(TOOLS)
    ),
    "range_estimator": Parameter(
        "choice",
        "default",
        "how the range of an activation follows from the calibration cases; entropy: onnxruntime only, the other "
        "statistics than minmax, mean_minmax and quantile: nncf only",
        tuple(dict.fromkeys(item for name in TOOLS for item in tool(name).RANGE_ESTIMATORS)),
    ),
    "calibration_cases": Parameter(
        "integer", 64, "how many calibration cases are seen, one tile each", low=1, high=300
    ),
    "weight_bits": Parameter(
        "choice",
        "auto",
        "bits that weights use; 7 keeps sums in range on x86-64 CPUs without VNNI, auto takes 7 there and 8 elsewhere",
        ("auto", 8, 7),
    ),
    "keep_float": Parameter(
        "integer",
        0,
        "how many groups of layers stay in float, those first that recover most for their time (autoopt sensitivity)",
        low=0,
        high=16,
    ),
    "ignored_layers": Parameter(
        "text",
        None,
        "layers that stay in float: name:NODE, pattern:REGEX, type:OPERATION, end:first, end:last, comma-separated",
        nullable=True,
    ),
    "qat_steps": Parameter("integer", QAT_STEPS, "int8-qat: steps of its training", low=1, high=100_000),
    "training_precision": training_settings.PARAMETERS["training_precision"],
}
_ORDER = (
    *("scheme", "smooth_quant", "tool", "preset", "range_estimator", "bias_correction", "calibration_cases"),
    *("weight_bits", "activations", "keep_float", "accuracy_drop", "ignored_layers"),
)
"""The order of the settings, in which a search with a seed draws them: it stays what it was."""


def _parameters() -> dict[str, Parameter]:
    """The settings of all tools and those of each, known ones in their old order, others behind them."""
    found = {**_COMMON, **{key: item for name in TOOLS for key, item in tool(name).PARAMETERS.items()}}
    return {key: found[key] for key in dict.fromkeys((*_ORDER, *found)) if key in found}


PARAMETERS: Mapping[str, Parameter] = _parameters()


def canonical(settings: Mapping[str, Scalar], runtime: Mapping[str, Scalar], host: Host) -> dict[str, Scalar] | None:
    """`settings` with only what has an effect for `runtime`, defaults filled in; None when nothing is quantized.

    Nothing is where the runtime does not take the scheme, or no tool makes it of graphs of the runtime's format.
    """
    executes = runtime_module(str(runtime["name"]))
    known = {name: settings.get(name, parameter.default) for name, parameter in PARAMETERS.items()}
    if known["scheme"] is None or integers(known) not in executes.SCHEMES:
        return None
    stand_in = not graph_format(executes.FORMAT).NETWORK  # which no tool changes
    tools = list(TOOLS) if stand_in else tools_for(executes.FORMAT, integers(known))
    if not tools:
        return None
    ignored = known["ignored_layers"]
    known["ignored_layers"] = selectors.canonical(None if ignored is None else str(ignored))
    if known["scheme"] in WEIGHTS_ALONE:
        return {key: known[key] for key in ("scheme", "ignored_layers")}
    if known["weight_bits"] == "auto":
        known["weight_bits"] = executes.weight_bits(host)
    for key, off in (("keep_float", 0), ("smooth_quant", None), ("accuracy_drop", None)):
        if known[key] == off:  # as before there was such a setting: one configuration, one name
            del known[key]
    trained = known["scheme"] == TRAINED and not stand_in
    if not trained:
        del known["qat_steps"], known["training_precision"]
    elif known["training_precision"] == "auto":
        known["training_precision"] = training_settings.precision_on(host)
    found = known if stand_in else _of_one_tool(known, tools)
    return {key: value for key, value in found.items() if not (trained and key in _OF_TRAINED)}


def integers(settings: Mapping[str, Scalar]) -> str:
    """The scheme of the graph: which of its numbers become integers, however the network was trained."""
    scheme = str(settings.get("scheme", "int8"))
    return "int8" if scheme == TRAINED else scheme


def training(settings: Mapping[str, Scalar] | None) -> dict[str, Scalar] | None:
    """What the step `TRAINER` does to the network before these canonical settings; None where it does nothing."""
    if settings is None or settings.get("scheme") != TRAINED or "qat_steps" not in settings:
        return None
    precision = settings["training_precision"]
    return {"steps": settings["qat_steps"], "qat": True, "clip": True, "training_precision": precision}


def _of_one_tool(known: dict[str, Scalar], tools: Sequence[str]) -> dict[str, Scalar]:
    """The settings for the tool that they name, or else for the first of `tools`: without those of other tools."""
    chosen = str(known["tool"]) if known["tool"] in tools else tools[0]
    estimators = tool(chosen).RANGE_ESTIMATORS
    known["tool"] = chosen
    if known["range_estimator"] not in estimators:
        known["range_estimator"] = estimators[0]
    own = tool(chosen).PARAMETERS
    return {key: value for key, value in known.items() if key in _COMMON or key in own}


def apply(settings: Mapping[str, Scalar], source: Artifact, workload: Workload, folder: Path) -> Mapping[str, Any]:
    """Quantize the graph of `source` into `folder`; the report counts what was quantized and how far it is off.

    Raises Unsupported when no tool can do it, a selector selects nothing or the tool refuses the graph, Numeric when
    the result is not finite, BadData when a calibration case cannot be read.
    """
    began = time.perf_counter()
    name = format_of(source.path)
    if not graph_format(name).NETWORK:
        for file in source.files:
            shutil.copyfile(source.path / file, folder / file)
        return {"format": name}
    scheme = integers(settings)
    if settings.get("scheme") == TRAINED:
        settings = {**settings, **_OF_TRAINED}
    chosen = _tool_for(settings, name, scheme)
    alone = scheme in WEIGHTS_ALONE
    asked = settings.get("calibration_cases")
    tiles = calibration_tiles(workload, 1 if alone else int(asked or 1))
    report = tool(chosen).quantize(settings, name, source.path, tiles, folder, workload)
    calibrated = {
        "calibration_cases": len(tiles),
        "calibration_cases_asked": asked,
        **graph_format(name).counts(folder),
    }
    return {
        "format": name,
        "tool": chosen,
        **({} if alone else calibrated),
        **report,
        **difference(source.path, folder, tiles[0]),
        "seconds": time.perf_counter() - began,
    }


def _tool_for(settings: Mapping[str, Scalar], format_name: str, scheme: str) -> str:
    """The tool of the settings, else the default of the format. Raises Unsupported where it cannot do that."""
    tools = tools_for(format_name, scheme)
    asked = settings.get("tool")
    if asked in tools or (asked is None and tools):
        return tools[0] if asked is None else str(asked)
    able = [item for item in TOOLS if asked in (None, item)]
    formats = dict.fromkeys(key for item in able for key, made in tool(item).SCHEMES.items() if scheme in made)
    by = "" if asked is None else f" by {asked}"
    needed = f"a graph of {' or '.join(formats)}" if formats else "another tool"
    raise Unsupported(f"{scheme}{by} must be given {needed}, got {format_name}")


def calibration_tiles(workload: Workload, count: int) -> list[np.ndarray]:
    """`count` prepared tiles, (1, channels, *tile), of the calibration cases in a seeded order: one of each, then more.

    A larger count sees what a smaller one does and more. There are fewer where the cases have no more tiles. Raises
    BadData naming a case that cannot be used.
    """
    cases = workload.splits.calibration
    order = np.random.default_rng(CALIBRATION_SEED).permutation(len(cases))
    pipeline = replace(workload.pipeline, mirror=())  # mirrored calls see nothing that the others do not
    tiles: list[np.ndarray] = []
    for rank in range(count):
        walk, position = divmod(rank, len(cases))
        case = cases[order[position]]
        try:
            sample = case.read()
            cut, geometry = pipeline.cut(sample.image, sample.affine)
        except ValueError as error:
            raise BadData(f"calibration case {case.id} cannot be used: {error}") from error
        have = geometry.stack * len(geometry.corners)
        if walk < have:  # walks over the image, so that the cases together show all of it
            tiles.append(next(itertools.islice(cut, (position + walk) % have, None)))
    return tiles


def difference(
    source: Path, folder: Path, tile: np.ndarray, *, reader: Callable[[Path], Call] = caller
) -> dict[str, float | None]:
    """How far the graph in `folder` is from the one in `source` on one tile: largest error, signal to noise in dB.

    The ratio is None where it is infinite: the two graphs agree to the last bit. `reader` gives the function that runs
    a graph. Raises Numeric when the output is not finite or has another shape.
    """
    expected, got = reader(source)(tile), reader(folder)(tile)
    if got.shape != expected.shape:
        raise Numeric(f"the quantized graph must answer with shape {expected.shape}, it gives {got.shape}")
    if not np.isfinite(got).all():
        raise Numeric(f"the quantized graph must answer with finite numbers, {int((~np.isfinite(got)).sum())} are not")
    return {
        "max_error": float(np.abs(got.astype(np.float64) - expected).max()),
        "sqnr_db": signal_to_noise_db([got], [expected]),
    }
