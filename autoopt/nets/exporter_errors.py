"""The exporters of PyTorch: their warnings silenced, their errors translated into Unsupported."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from autoopt.errors import Unsupported


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
        raise Unsupported(f"{exporter} refuses the model: {str(error).strip().splitlines()[0][:300]}") from error
    except RuntimeError as error:
        if "exported program" not in str(error):  # which has no class of its own
            raise
        raise Unsupported(f"{exporter} refuses the model: {str(error).strip().splitlines()[0][:300]}") from error
