"""The exporters of PyTorch: their warnings silenced, their errors translated into Unsupported."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from autoopt.errors import Unsupported

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""What colours a terminal; it has no place in a record."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings and logs of the exporters inside the block: they concern only their developers."""
    names = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def refusals_of(exporter: str) -> Iterator[None]:
    """Raise Unsupported for what `exporter` raises about a model it cannot trace; other errors pass unchanged."""
    from torch._dynamo.exc import TorchDynamoException
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
    from torch.onnx import OnnxExporterError

    try:
        yield
    except (OnnxExporterError, TorchDynamoException, GuardOnDataDependentSymNode) as error:
        raise Unsupported(f"{exporter} refuses the model: {_reason(error)}") from error
    except RuntimeError as error:
        if "exported program" not in str(error):  # which has no class of its own
            raise
        raise Unsupported(f"{exporter} refuses the model: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """The first line of what began it: an exporter that calls another one only says which of its steps failed."""
    while error.__cause__ is not None and str(error.__cause__).strip():
        error = error.__cause__
    return COLOURS.sub("", str(error).strip().splitlines()[0])[:300]
