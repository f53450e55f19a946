"""Options of a workload, read from the texts of a command line."""

from __future__ import annotations

import pytest

from autoopt.core.parameters import Parameter
from autoopt.errors import WorkloadError
from autoopt.workloads.options import call_with_options, read_options

OPTIONS = {
    "net": Parameter("choice", "small", "which net", allowed=("small", "large")),
    "width": Parameter("integer", 8, "base width", low=1),
    "sigmoid": Parameter("flag", False, "several labels at once"),
    "rate": Parameter("number", 0.5, "a rate", nullable=True),
}


def test_options_are_read_from_text() -> None:
    """What a command line gives as text becomes what the workload's options say; defaults are left to the workload."""
    given = {"net": "large", "width": "16", "sigmoid": "true", "rate": "null"}
    assert read_options("x", OPTIONS, given) == {"net": "large", "width": 16, "sigmoid": True, "rate": None}
    assert read_options("x", OPTIONS, {}) == {}


def test_bad_options_come_together() -> None:
    """Every unknown option and every wrong value is named at once, with what is allowed."""
    with pytest.raises(WorkloadError) as caught:
        read_options("x", OPTIONS, {"net": "huge", "width": "many", "depth": "3"})
    text = str(caught.value)
    assert "option net of x must be one of small, large, got 'huge'" in text
    assert "option width of x must be a whole number of at least 1, got 'many'" in text
    assert "x has no option 'depth', its options are: net, width, sigmoid, rate" in text


def test_a_function_gets_what_it_takes() -> None:
    """A function without arguments is called without the data folder, one with `**options` takes any option."""
    assert call_with_options(lambda: "none", None, {}) == "none"
    assert call_with_options(lambda data, **options: options, None, {"width": 8}) == {"width": 8}
    with pytest.raises(WorkloadError, match=r"must take the option\(s\) depth"):
        call_with_options(lambda data, width=8: width, None, {"depth": 3})
