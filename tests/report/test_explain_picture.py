"""An explanation as a picture."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest

from autoopt.report.explain_picture import explain_picture
from tests.report.profiles import CONVERTED, FLOAT, conv, explain


@pytest.mark.parametrize("beside", [True, False])
def test_the_picture_is_a_png(beside: bool) -> None:
    """The picture can be read, is wider beside another trial, and is not blank."""
    from PIL import Image

    found = explain(CONVERTED, FLOAT if beside else None)
    with Image.open(BytesIO(explain_picture(found))) as image:
        assert image.format == "PNG"
        assert image.width > (1300 if beside else 700)
        assert np.asarray(image.convert("L")).std() > 5


def test_the_picture_of_nothing_is_a_picture() -> None:
    """A profile without layers, or without time, draws all the same."""
    for layers in ([], [conv(0, 0, "i8")]):
        assert explain_picture(explain(layers, layers)).startswith(b"\x89PNG")
