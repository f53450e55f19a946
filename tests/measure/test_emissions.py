"""The estimate of CO2: measured joules by codecarbon's table, and what is said without it."""

from __future__ import annotations

import pytest

from autoopt.core.packages import is_installed
from autoopt.errors import NeedsPackage, UsageError
from autoopt.measure.emissions import grams


@pytest.mark.skipif(is_installed("codecarbon"), reason="codecarbon is installed")
def test_without_codecarbon_it_is_said_what_to_install() -> None:
    """The extra is named; nothing is guessed."""
    with pytest.raises(NeedsPackage, match=r"autoopt\[training\]"):
        grams(3.6e6, "DNK")


def test_a_kilowatt_hour() -> None:
    """A kilowatt hour emits what the table says of the country, joules in proportion; other letters are refused."""
    pytest.importorskip("codecarbon")
    assert 20 < grams(3.6e6, "DNK") < 500
    assert grams(3.6e3, "DNK") == pytest.approx(grams(3.6e6, "DNK") / 1000)
    with pytest.raises(UsageError, match="three letters of a country, such as DNK, got 'XYZ'"):
        grams(1.0, "XYZ")
