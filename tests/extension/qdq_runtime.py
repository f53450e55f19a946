"""A runtime from outside the package that takes ONNX graphs with quantizers in them: ONNX Runtime by another name."""

from autoopt.inference.runtimes.onnxruntime import (
    DISTRIBUTION,
    FORMAT,
    PARAMETERS,
    SCHEMES,
    canonical,
    open,  # noqa: A004 - the contract's name
    open_concurrent,
    precisions,
    weight_bits,
)

__all__ = [
    "DISTRIBUTION",
    "FORMAT",
    "PARAMETERS",
    "SCHEMES",
    "canonical",
    "open",
    "open_concurrent",
    "precisions",
    "weight_bits",
]
