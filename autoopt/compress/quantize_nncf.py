"""Integers by NNCF, on the graphs of OpenVINO and ONNX."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from autoopt.compress import accuracy_control
from autoopt.compress.selectors import ignored_nodes
from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.errors import Unsupported
from autoopt.inference.formats import graph_format
from autoopt.inference.formats.base import EditableFormat
from autoopt.workloads.contract import Workload

TITLE = "NNCF"
SCHEMES: Mapping[str, tuple[str, ...]] = {"openvino": ("int8", "int8-weights", "int4-weights"), "onnx": ("int8",)}
RANGE_ESTIMATORS = (
    "default",
    "minmax",
    "mean_minmax",
    "median_minmax",
    "mean_no_outliers_minmax",
    "quantile",
    "histogram",
)
PARAMETERS: Mapping[str, Parameter] = {
    "smooth_quant": Parameter(
        "number",
        None,
        "nncf, networks that attend: how much of the range moves from activations to weights; null: NNCF's own",
        low=0.0,
        high=1.0,
        nullable=True,
    ),
    "preset": Parameter(
        "choice",
        "performance",
        "nncf: performance is symmetric, mixed has asymmetric activations",
        ("performance", "mixed"),
    ),
    "bias_correction": Parameter(
        "choice", "fast", "nncf: how biases make up for the mean error", ("none", "fast", "full")
    ),
    "accuracy_drop": Parameter(
        "number",
        None,
        "nncf: layers go back to float until training cases held out lose at most this; slow; null: all are quantized",
        low=0.0,
        high=0.5,
        nullable=True,
    ),
}
DISTRIBUTIONS: tuple[str, ...] = ("nncf", "openvino", "onnx")
_WEIGHT_TYPES = {"int8-weights": ("i8", "u8"), "int4-weights": ("i4", "u4")}
"""What OpenVINO calls the types of the weights that a scheme asks for."""


def quantize(
    settings: Mapping[str, Scalar],
    format_name: str,
    source: Path,
    tiles: Sequence[np.ndarray],
    folder: Path,
    workload: Workload,
) -> dict[str, Any]:
    """See `tools.Tool`.

    With `accuracy_drop` NNCF's accuracy control puts layers back into float until held-out training cases of `workload`
    lose no more than that. Weights alone: Unsupported is raised where none became an integer of that width, because
    NNCF keeps eight bits, or floats, without a word.
    """
    changed = cast(EditableFormat, graph_format(format_name))
    graph = changed.read(source)
    nodes = changed.layers_of(graph)
    ignored = ignored_nodes(settings, nodes)
    if settings.get("scheme") in _WEIGHT_TYPES:
        graph, made = _compressed(graph, str(settings["scheme"]), ignored)
        changed.save(graph, folder)
        return {"compressed_weights": made, "ignored": ignored}
    controlled = workload if settings.get("accuracy_drop") is not None else None
    items = [changed.feed(graph, tile) for tile in tiles]
    attention = changed.attends(graph)  # NNCF treats such networks differently from convolutional ones
    changed.save(quantized(graph, settings, items, ignored, attention, controlled), folder)
    return {"ignored": ignored, "attention": attention}


def quantized(
    graph: Any,
    settings: Mapping[str, Scalar],
    items: list[Any],
    ignored: list[str],
    attention: bool,
    controlled: Workload | None = None,
) -> Any:
    """The quantized graph of `graph`, an object of OpenVINO or ONNX, but for the nodes `ignored`.

    `items` are calibration tiles as `EditableFormat.feed` gives them, `attention` whether the network attends,
    `controlled` the workload whose training cases bound the loss. Raises Unsupported when NNCF refuses the graph.
    """
    os.environ.setdefault("NNCF_CI", "1")  # no telemetry: read by NNCF when it is imported
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedAccuracyRestorerParameters

    presets = {"performance": nncf.QuantizationPreset.PERFORMANCE, "mixed": nncf.QuantizationPreset.MIXED}
    refusals = (
        nncf.ValidationError,
        nncf.UnsupportedBackendError,
        nncf.UnsupportedModelError,
        nncf.UnsupportedVersionError,
        nncf.ParameterNotSupportedError,
    )
    advanced = _advanced(settings, attention)
    common: dict[str, Any] = {
        "calibration_dataset": nncf.Dataset(items),
        "preset": presets[str(settings.get("preset", "performance"))],
        "subset_size": len(items),
        "model_type": nncf.ModelType.TRANSFORMER if attention else None,
        "fast_bias_correction": settings.get("bias_correction", "fast") != "full",
        "ignored_scope": nncf.IgnoredScope(names=ignored),
    }
    try:
        if controlled is None:
            return nncf.quantize(graph, **common, advanced_parameters=advanced)
        held = accuracy_control.held_out(controlled)
        return nncf.quantize_with_accuracy_control(
            graph,
            **common,
            validation_dataset=nncf.Dataset(held),
            validation_fn=accuracy_control.validation(controlled.pipeline),
            max_drop=float(settings["accuracy_drop"] or 0),
            drop_type=nncf.DropType.ABSOLUTE,
            advanced_quantization_parameters=advanced,
            advanced_accuracy_restorer_parameters=AdvancedAccuracyRestorerParameters(ranking_subset_size=len(held)),
        )
    except refusals as error:
        raise Unsupported(f"NNCF refuses the graph: {str(error).strip().splitlines()[0][:300]}") from error


def _compressed(graph: Any, scheme: str, ignored: list[str]) -> tuple[Any, int]:
    """The OpenVINO graph with integer weights and float activations, and how many weights became such integers."""
    os.environ.setdefault("NNCF_CI", "1")  # as above
    import nncf

    modes = {"int8-weights": nncf.CompressWeightsMode.INT8_ASYM, "int4-weights": nncf.CompressWeightsMode.INT4_SYM}
    others = {} if scheme == "int8-weights" else {"ratio": 1.0, "group_size": -1, "all_layers": True}
    graph = nncf.compress_weights(graph, mode=modes[scheme], ignored_scope=nncf.IgnoredScope(names=ignored), **others)
    constants = [op for op in graph.get_ordered_ops() if op.get_type_name() == "Constant"]
    made = sum(op.get_output_element_type(0).get_type_name() in _WEIGHT_TYPES[scheme] for op in constants)
    if not made:
        raise Unsupported(
            f"{scheme} must find layers whose weights can be such integers, this graph has none: "
            "NNCF would leave them wider without a word"
        )
    return graph, made


def _advanced(settings: Mapping[str, Scalar], attention: bool) -> Any:
    """NNCF's advanced parameters. Raises Unsupported for SmoothQuant where nothing attends."""
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        AdvancedSmoothQuantParameters,
        OverflowFix,
    )
    from nncf.quantization.range_estimator import RangeEstimatorParameters, RangeEstimatorParametersSet

    smooth = settings.get("smooth_quant")
    if smooth is not None and not attention:
        raise Unsupported("smooth_quant must be left out for a network that does not attend: NNCF would not use it")
    estimators = {
        "default": RangeEstimatorParameters(),
        "minmax": RangeEstimatorParametersSet.MINMAX,
        "mean_minmax": RangeEstimatorParametersSet.MEAN_MINMAX,
        "median_minmax": RangeEstimatorParametersSet.MEDIAN_MINMAX,
        "mean_no_outliers_minmax": RangeEstimatorParametersSet.MEAN_NO_OUTLIERS_MINMAX,
        "quantile": RangeEstimatorParametersSet.MEAN_QUANTILE,
        "histogram": RangeEstimatorParametersSet.HISTOGRAM,
    }
    advanced = AdvancedQuantizationParameters(
        disable_bias_correction=settings.get("bias_correction", "fast") == "none",
        overflow_fix=OverflowFix.ENABLE if settings.get("weight_bits") == 7 else OverflowFix.DISABLE,
        # Weights are known exactly: only the ranges of activations are estimated.
        activations_range_estimator_params=estimators[str(settings.get("range_estimator", "default"))],
    )
    if smooth is not None:
        advanced.smooth_quant_alphas = AdvancedSmoothQuantParameters(matmul=float(smooth))
    return advanced
