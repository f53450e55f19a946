"""INT8 by NNCF, on the OpenVINO or the ONNX graph."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.compress import accuracy_control
from autoopt.compress.selectors import select
from autoopt.core.configuration import Scalar
from autoopt.errors import Unsupported
from autoopt.inference import graphs
from autoopt.workloads.contract import Workload

ATTENTION = frozenset({"Softmax", "SoftMax", "ScaledDotProductAttention", "Attention"})


def quantized(model: Any, settings: Mapping[str, Scalar], tiles: Sequence[np.ndarray]) -> Any:
    """The quantized OpenVINO model of `model`, with all layers. Raises Unsupported when NNCF refuses the graph."""
    nodes = graphs.openvino_nodes(model)
    return _run(model, settings, list(tiles), graphs.enlarging(nodes), has_attention(nodes))


def quantize(
    graph_format: str,
    settings: Mapping[str, Scalar],
    source: Path,
    tiles: Sequence[np.ndarray],
    folder: Path,
    controlled: Workload | None = None,
) -> dict[str, Any]:
    """Write the quantized graph of `source` to `folder`; the report counts quantizers and names what stays in float.

    With `controlled`, NNCF's accuracy control puts layers back into float until held-out training cases of that
    workload lose no more than `accuracy_drop`. Raises Unsupported when a selector selects nothing or NNCF refuses.
    """
    make = _quantize_openvino if graph_format == "openvino" else _quantize_onnx
    return make(settings, source, list(tiles), folder, controlled)


def compress_weights(settings: Mapping[str, Scalar], source: Path, folder: Path) -> dict[str, Any]:
    """Write the OpenVINO graph of `source` with integer weights and float activations to `folder`.

    Raises Unsupported for another format, and where nothing became an integer of that width: NNCF keeps eight bits, or
    floats, without a word.
    """
    os.environ.setdefault("NNCF_CI", "1")
    import nncf
    import openvino

    if graphs.format_of(source) != "openvino":
        raise Unsupported(f"{settings['scheme']} must be given an OpenVINO graph, got {graphs.format_of(source)}")
    model = openvino.Core().read_model(source / graphs.FILES["openvino"])
    ignored = _selected(settings, graphs.openvino_nodes(model))
    modes = {"int8-weights": nncf.CompressWeightsMode.INT8_ASYM, "int4-weights": nncf.CompressWeightsMode.INT4_SYM}
    wide = settings["scheme"] == "int8-weights"
    others = {} if wide else {"ratio": 1.0, "group_size": -1, "all_layers": True}
    model = nncf.compress_weights(
        model, mode=modes[str(settings["scheme"])], ignored_scope=nncf.IgnoredScope(names=ignored), **others
    )
    bits = {"int8-weights": ("i8", "u8"), "int4-weights": ("i4", "u4")}[str(settings["scheme"])]
    kinds = [op.get_output_element_type(0).get_type_name() for op in model.get_ordered_ops() if _is_constant(op)]
    made = sum(kind in bits for kind in kinds)
    if not made:
        raise Unsupported(
            f"{settings['scheme']} must find layers whose weights can be such integers, this graph has none: "
            "NNCF would leave them wider without a word"
        )
    graphs.name_openvino(model)
    openvino.save_model(model, folder / graphs.FILES["openvino"], compress_to_fp16=False)
    return {"compressed_weights": made, "ignored": ignored}


def _is_constant(op: Any) -> bool:
    return bool(op.get_type_name() == "Constant")


def _quantize_openvino(
    settings: Mapping[str, Scalar], source: Path, tiles: list[np.ndarray], folder: Path, controlled: Workload | None
) -> dict[str, Any]:
    import openvino

    model = openvino.Core().read_model(source / graphs.FILES["openvino"])
    nodes = graphs.openvino_nodes(model)
    ignored = _selected(settings, nodes)
    quantized = _run(model, settings, tiles, ignored, has_attention(nodes), controlled)
    graphs.name_openvino(quantized)
    openvino.save_model(quantized, folder / graphs.FILES["openvino"], compress_to_fp16=False)
    return {**graphs.count_openvino(quantized), "ignored": ignored, "attention": has_attention(nodes)}


def _quantize_onnx(
    settings: Mapping[str, Scalar], source: Path, tiles: list[np.ndarray], folder: Path, controlled: Workload | None
) -> dict[str, Any]:
    import onnx

    model = onnx.load(source / graphs.FILES["onnx"])
    nodes = graphs.onnx_nodes(model)
    ignored = _selected(settings, nodes)
    name = model.graph.input[0].name
    items = [{name: tile} for tile in tiles]
    quantized = _run(model, settings, items, ignored, has_attention(nodes), controlled)
    onnx.save(quantized, folder / graphs.FILES["onnx"])
    return {**graphs.count_onnx(quantized), "ignored": ignored, "attention": has_attention(nodes)}


def has_attention(nodes: Sequence[graphs.Node]) -> bool:
    """Whether the network attends: a softmax inside it. NNCF treats such nets differently from convolutional ones."""
    return any(kind in ATTENTION for node in nodes for kind in node.types)


def _selected(settings: Mapping[str, Scalar], nodes: Sequence[graphs.Node]) -> list[str]:
    text = settings.get("ignored_layers")
    return [*select(None if text is None else str(text), nodes), *graphs.enlarging(nodes)]


def _run(
    model: Any,
    settings: Mapping[str, Scalar],
    items: list[Any],
    ignored: list[str],
    attention: bool,
    controlled: Workload | None = None,
) -> Any:
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
            return nncf.quantize(model, **common, advanced_parameters=advanced)
        held = accuracy_control.held_out(controlled)
        return nncf.quantize_with_accuracy_control(
            model,
            **common,
            validation_dataset=nncf.Dataset(held),
            validation_fn=accuracy_control.validation(controlled.pipeline.activation == "sigmoid"),
            max_drop=float(settings["accuracy_drop"] or 0),
            drop_type=nncf.DropType.ABSOLUTE,
            advanced_quantization_parameters=advanced,
            advanced_accuracy_restorer_parameters=AdvancedAccuracyRestorerParameters(ranking_subset_size=len(held)),
        )
    except refusals as error:
        raise Unsupported(f"NNCF refuses the graph: {str(error).strip().splitlines()[0][:300]}") from error


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
