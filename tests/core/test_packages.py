"""What an install may lack is said with what to type."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from autoopt.core.packages import HOW, OF_SEARCH, SEARCH_EXTRA, lacking, require
from autoopt.errors import NeedsPackage

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
DISTRIBUTIONS = {"yaml": "pyyaml", "sklearn": "scikit-learn", "PIL": "pillow"}
"""Where pip calls a module otherwise; sqlalchemy comes with optuna."""


def test_what_is_missing_is_named_once() -> None:
    """All modules that are missing are named, and what to install once; what is there is not."""
    require("json", "numpy")
    with pytest.raises(NeedsPackage, match=r"needs nowhere_a and nowhere_b, .*: pip install nowhere_a nowhere_b$"):
        require("json", "nowhere_a", "nowhere_b")


def test_an_error_that_is_of_a_missing_package_is_known_from_far() -> None:
    """The package is found behind other errors; a fault of ours and a library that is broken are not taken for it."""
    outer = RuntimeError("it failed")
    outer.__cause__ = ModuleNotFoundError("No module named 'optuna'", name="optuna.storages")
    assert SEARCH_EXTRA in str(lacking(outer))
    assert lacking(ModuleNotFoundError("No module named 'autoopt.nothing'", name="autoopt.nothing")) is None
    assert lacking(ImportError("libtbb.so: cannot open shared object file", name="openvino")) is None


@pytest.mark.skipif(not PROJECT.exists(), reason="the tests run without the source tree")
def test_the_extras_have_what_they_are_said_to_have() -> None:
    """Each module that is said to come with an extra is declared in it, and none of them in the base."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    extras = project["optional-dependencies"]

    def names(lines: list[str]) -> set[str]:
        return {re.split(r"[\[<>=~! ]", line)[0].lower() for line in lines}

    base = names(project["dependencies"])
    assert base == {"numpy", "psutil", "rich", "typer"}
    for module in set(OF_SEARCH) - {"sqlalchemy"}:
        assert DISTRIBUTIONS.get(module, module) in names(extras["search"])
    for module, how in HOW.items():
        extra = re.search(r"autoopt\[(\w+)\]", how)
        assert extra is None or extra[1] in extras
        assert DISTRIBUTIONS.get(module, module) not in base
