"""Step `quantize`: post-training quantization to INT8 with calibration on training cases.

Two tools: NNCF on the OpenVINO or ONNX graph (quantize_nncf.py), and ONNX Runtime's own static quantizer
(quantize_ort.py). This file says what may be set, what of it has an effect where, and checks the result.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.compress import selectors
from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.core.store import Artifact
from autoopt.errors import BadData, Numeric, Unsupported
from autoopt.inference import graphs
from autoopt.workloads.contract import Workload

NAME = "quantize"
SWITCH = "scheme"
VERSION = 3
DISTRIBUTIONS: tuple[str, ...] = ("nncf", "openvino", "onnx", "onnxruntime")

NNCF_ESTIMATORS = (
    "default",
    "minmax",
    "mean_minmax",
    "median_minmax",
    "mean_no_outliers_minmax",
    "quantile",
    "histogram",
)
ORT_ESTIMATORS = ("minmax", "mean_minmax", "quantile", "entropy")

PARAMETERS: Mapping[str, Parameter] = {
    "scheme": Parameter(
        "choice",
        "int8",
        "int8: weights and activations; int8-weights, int4-weights: weights alone (OpenVINO); null: nothing",
        ("int8", "int8-weights", "int4-weights"),
        nullable=True,
    ),
    "smooth_quant": Parameter(
        "number",
        None,
        "nncf, networks that attend: how much of the range moves from activations to weights; null: NNCF's own",
        low=0.0,
        high=1.0,
        nullable=True,
    ),
    "tool": Parameter(
        "choice", "nncf", "who quantizes; an OpenVINO graph always goes to nncf", ("nncf", "onnxruntime")
    ),
    "preset": Parameter(
        "choice",
        "performance",
        "nncf: performance is symmetric, mixed has asymmetric activations",
        ("performance", "mixed"),
    ),
    "range_estimator": Parameter(
        "choice",
        "default",
        "how the range of an activation follows from the calibration cases; entropy: onnxruntime only, the other "
        "statistics than minmax, mean_minmax and quantile: nncf only",
        tuple(dict.fromkeys((*NNCF_ESTIMATORS, *ORT_ESTIMATORS))),
    ),
    "bias_correction": Parameter(
        "choice", "fast", "nncf: how biases make up for the mean error", ("none", "fast", "full")
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
    "activations": Parameter("choice", "u8", "onnxruntime: asymmetric u8 or symmetric s8 activations", ("u8", "s8")),
    "keep_float": Parameter(
        "integer",
        0,
        "how many groups of layers stay in float, those first that recover most for their time (autoopt sensitivity)",
        low=0,
        high=16,
    ),
    "accuracy_drop": Parameter(
        "number",
        None,
        "nncf: layers go back to float until training cases held out lose at most this; slow; null: all are quantized",
        low=0.0,
        high=0.5,
        nullable=True,
    ),
    "ignored_layers": Parameter(
        "text",
        None,
        "layers that stay in float: name:NODE, pattern:REGEX, type:OPERATION, comma-separated",
        nullable=True,
    ),
}

_ONLY = {"nncf": ("preset", "bias_correction", "smooth_quant", "accuracy_drop"), "onnxruntime": ("activations",)}
"""Settings that one tool alone has."""
WEIGHTS_ALONE = ("int8-weights", "int4-weights")
"""Schemes that leave activations in float: without calibration, and only OpenVINO makes use of them."""
CALIBRATION_SEED = 0


def canonical(settings: Mapping[str, Scalar], runtime: Mapping[str, Scalar], host: Host) -> dict[str, Scalar] | None:
    """`settings` with only what has an effect for `runtime`, defaults filled in; None when nothing is quantized."""
    known = {name: settings.get(name, parameter.default) for name, parameter in PARAMETERS.items()}
    executes = runtime.get("name")
    if known["scheme"] is None or executes not in ("openvino", "onnxruntime", "fake"):
        return None
    ignored = known["ignored_layers"]
    known["ignored_layers"] = selectors.canonical(None if ignored is None else str(ignored))
    if known["scheme"] in WEIGHTS_ALONE:
        alone = {name: known[name] for name in ("scheme", "ignored_layers")}
        return None if executes == "onnxruntime" else alone
    if known["weight_bits"] == "auto":
        known["weight_bits"] = 7 if _sums_overflow(host) else 8
    for name, off in (("keep_float", 0), ("smooth_quant", None), ("accuracy_drop", None)):
        if known[name] == off:  # as before there was such a setting: one configuration, one name
            del known[name]
    if executes == "fake":
        return known
    if executes == "openvino":
        known["tool"] = "nncf"
    tool = str(known["tool"])
    if tool == "onnxruntime":
        known["range_estimator"] = known["range_estimator"] if known["range_estimator"] in ORT_ESTIMATORS else "minmax"
    elif known["range_estimator"] not in NNCF_ESTIMATORS:
        known["range_estimator"] = "default"
    foreign = [name for other, names in _ONLY.items() if other != tool for name in names]
    return {name: value for name, value in known.items() if name not in foreign}


def _sums_overflow(host: Host) -> bool:
    """Whether INT8 kernels add products in 16 bits: x86-64 without VNNI. Eight-bit weights then saturate unseen."""
    return host.arch.lower() in ("x86_64", "amd64") and not any("vnni" in name or "amx" in name for name in host.isa)


def apply(settings: Mapping[str, Scalar], source: Artifact, workload: Workload, folder: Path) -> Mapping[str, Any]:
    """Quantize the graph of `source` into `folder`; the report counts what was quantized and how far it is off.

    Raises Unsupported when a selector selects nothing or the tool refuses the graph, Numeric when the
    result is not finite, BadData when a calibration case cannot be read.
    """
    began = time.perf_counter()
    graph_format = graphs.format_of(source.path)
    if graph_format == "fake":
        for name in source.files:
            shutil.copyfile(source.path / name, folder / name)
        return {"format": graph_format}
    if settings.get("scheme") in WEIGHTS_ALONE:
        return _weights_alone(settings, source, workload, folder)
    tool = str(settings.get("tool", "nncf"))
    if graph_format == "torch" or (graph_format, tool) == ("openvino", "onnxruntime"):
        needed = "an ONNX or OpenVINO graph" if tool == "nncf" else "an ONNX graph"
        raise Unsupported(f"{tool} must be given {needed}, got {graph_format}")
    tiles = calibration_tiles(workload, int(settings.get("calibration_cases") or 1))
    if tool == "nncf":
        from autoopt.compress.quantize_nncf import quantize

        controlled = settings.get("accuracy_drop") is not None
        report = quantize(graph_format, settings, source.path, tiles, folder, workload if controlled else None)
    else:
        from autoopt.compress import quantize_ort

        report = quantize_ort.quantize(graph_format, settings, source.path, tiles, folder)
    return {
        "format": graph_format,
        "tool": tool,
        "calibration_cases": len(tiles),
        "calibration_cases_asked": settings.get("calibration_cases"),
        **report,
        **difference(source.path, folder, tiles[0]),
        "seconds": time.perf_counter() - began,
    }


def _weights_alone(
    settings: Mapping[str, Scalar], source: Artifact, workload: Workload, folder: Path
) -> Mapping[str, Any]:
    from autoopt.compress.quantize_nncf import compress_weights

    began = time.perf_counter()
    report = compress_weights(settings, source.path, folder)
    return {
        "format": graphs.format_of(folder),
        "tool": "nncf",
        **report,
        **difference(source.path, folder, calibration_tiles(workload, 1)[0]),
        "seconds": time.perf_counter() - began,
    }


def calibration_tiles(workload: Workload, count: int) -> list[np.ndarray]:
    """`count` prepared tiles, (1, channels, *tile), of the calibration cases in a seeded order: one of each, then more.

    A larger count sees what a smaller one does and more. There are fewer where the cases have no more tiles. Raises
    BadData naming a case that cannot be used.
    """
    cases = workload.splits.calibration
    order = np.random.default_rng(CALIBRATION_SEED).permutation(len(cases))
    tiles: list[np.ndarray] = []
    for rank in range(count):
        walk, position = divmod(rank, len(cases))
        case = cases[order[position]]
        try:
            sample = case.read()
            cut, geometry = workload.pipeline.cut(sample.image, sample.affine)
        except ValueError as error:
            raise BadData(f"calibration case {case.id} cannot be used: {error}") from error
        have = geometry.stack * len(geometry.corners)
        if walk < have:  # walks over the image, so that the cases together show all of it
            tiles.append(next(itertools.islice(cut, (position + walk) % have, None)))
    return tiles


def difference(source: Path, folder: Path, tile: np.ndarray) -> dict[str, float | None]:
    """How far the graph in `folder` is from the one in `source` on one tile: largest error, signal to noise in dB.

    The ratio is None where it is infinite: the two graphs agree to the last bit. Raises Numeric when the
    output is not finite or has another shape.
    """
    expected, got = graphs.caller(source)(tile), graphs.caller(folder)(tile)
    if got.shape != expected.shape:
        raise Numeric(f"the quantized graph must answer with shape {expected.shape}, it gives {got.shape}")
    if not np.isfinite(got).all():
        raise Numeric(f"the quantized graph must answer with finite numbers, {int((~np.isfinite(got)).sum())} are not")
    noise = got.astype(np.float64) - expected
    power, noise_power = float(np.square(expected, dtype=np.float64).sum()), float(np.square(noise).sum())
    return {
        "max_error": float(np.abs(noise).max()),
        "sqnr_db": float(10 * np.log10(power / noise_power)) if power > 0 and noise_power > 0 else None,
    }
