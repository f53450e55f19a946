"""Every graph format keeps the contract; what one of them has besides."""

from __future__ import annotations

import pytest

from autoopt.inference.formats import FORMATS
from autoopt.testing import FormatContract


class TestFormats(FormatContract):
    """All formats of the table."""

    @pytest.fixture(params=FORMATS, autouse=True)
    def _each(self, request: pytest.FixtureRequest) -> None:
        for library in ("torch", "onnx", "onnxruntime", "openvino"):
            pytest.importorskip(library)
        self.name = request.param
