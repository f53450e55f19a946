"""INT8 by ONNX Runtime's static quantizer: quantize-dequantize pairs around each operation, weights per channel."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.compress.selectors import ignored_nodes
from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.inference.formats import onnx as onnx_format
from autoopt.workloads.contract import Workload

TITLE = "ONNX Runtime"
SCHEMES: Mapping[str, tuple[str, ...]] = {"onnx": ("int8",)}
RANGE_ESTIMATORS = ("minmax", "mean_minmax", "quantile", "entropy")
PARAMETERS: Mapping[str, Parameter] = {
    "activations": Parameter("choice", "u8", "onnxruntime: asymmetric u8 or symmetric s8 activations", ("u8", "s8")),
}
DISTRIBUTIONS: tuple[str, ...] = ("onnx", "onnxruntime")
PERCENTILE = 99.99
"""`quantile` keeps this share of the values of an activation, in percent: as NNCF's outlier probability of 1e-4."""


class _Tiles:
    """The reader that the quantizer asks for: one tile a call, in ranges, so that it never holds them all."""

    def __init__(self, name: str, tiles: Sequence[np.ndarray]) -> None:
        self._name, self._tiles = name, tiles
        self._position, self._end = 0, len(tiles)

    def __len__(self) -> int:
        return len(self._tiles)

    def __iter__(self) -> _Tiles:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        item = self.get_next()
        if item is None:
            raise StopIteration
        return item

    def set_range(self, start_index: int, end_index: int) -> None:
        self._position, self._end = start_index, end_index

    def get_next(self) -> dict[str, np.ndarray] | None:
        if self._position >= self._end:
            return None
        self._position += 1
        return {self._name: self._tiles[self._position - 1]}


def quantize(
    settings: Mapping[str, Scalar],
    format_name: str,
    source: Path,
    tiles: Sequence[np.ndarray],
    folder: Path,
    workload: Workload,
) -> dict[str, Any]:
    """See `tools.Tool`."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    # Given the model and not its path: from a path the quantizer writes a helper file beside the source.
    model = onnx_format.read(source)
    ignored = [*ignored_nodes(settings, onnx_format.layers_of(model)), *_stacked_products(model)]
    signed = settings.get("activations") == "s8"
    estimator = str(settings.get("range_estimator", "minmax"))
    method = {"quantile": CalibrationMethod.Percentile, "entropy": CalibrationMethod.Entropy}
    options: dict[str, Any] = {"ActivationSymmetric": signed, "CalibMovingAverage": estimator == "mean_minmax"}
    if estimator in method:
        # One tile at a time: these methods keep every activation of what they are given.
        options |= {"CalibStridedMinMax": 1, "CalibPercentile": PERCENTILE}
    logging.getLogger().addFilter(_no_preprocessing_advice)
    try:
        quantize_static(
            model,
            folder / onnx_format.FILE,
            _Tiles(model.graph.input[0].name, tiles),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=settings.get("weight_bits") == 7,
            nodes_to_exclude=ignored,
            calibrate_method=method.get(estimator, CalibrationMethod.MinMax),
            extra_options=options,
        )
    finally:
        logging.getLogger().removeFilter(_no_preprocessing_advice)
    return {"ignored": ignored}


def _stacked_products(model: Any) -> list[str]:
    """Products with a stack of matrices as weights: scales for each column, as others have, end in an error there."""
    stacks = {item.name for item in model.graph.initializer if len(item.dims) > 2}
    return [node.name for node in model.graph.node if node.op_type == "MatMul" and stacks.intersection(node.input)]


def _no_preprocessing_advice(record: logging.LogRecord) -> bool:
    """The exporter has already folded and inferred what the advised pre-processing would."""
    return "pre-processing before quantization" not in record.getMessage()
