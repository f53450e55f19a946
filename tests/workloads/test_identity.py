"""What stored results remember of a function."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from autoopt.core.configuration import canonical_json
from autoopt.workloads import brain, cardiac, dfu, histo, timeseries
from autoopt.workloads.contract import Recipe
from autoopt.workloads.identity import code_identity, plain_name


def function_in(path: Path, body: str) -> Callable[..., Any]:
    """The function `augment` of a file with this body."""
    path.write_text(f"def augment(sample, random):\n    {body}\n")
    spec = importlib.util.spec_from_file_location("mine", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[..., Any] = module.augment
    return found


def test_a_changed_augmentation_is_another_recipe(tmp_path: Path) -> None:
    """A user's augmentation counts by its name and its file's content, wherever the file lies."""

    def recipe(path: Path, body: str) -> str:
        found = Recipe(epochs=1, batch=1, learning_rate=1e-3, augment=function_in(path, body))
        return canonical_json(found.identity())

    before = recipe(tmp_path / "a.py", "return sample")
    assert recipe(tmp_path / "b.py", "return sample") == before
    assert recipe(tmp_path / "a.py", "return sample[::-1]") != before


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (histo.augment, "histo-1"),
        (brain.augment, "brain-1"),
        (cardiac.augment, "cardiac-1"),
        (dfu.augment, "dfu-1"),
        (timeseries.augment, "timeseries-1"),
    ],
)
def test_built_in_augmentations_have_plain_names(function: Callable[..., Any], name: str) -> None:
    """Stored networks of the built-ins do not depend on where a file lies or how it is formatted."""
    assert code_identity(function) == name


def test_arguments_and_wrappers_count(tmp_path: Path) -> None:
    """A function with bound arguments, or inside a decorator of the user, is not the plain function."""

    @plain_name("ours-1")
    def ours(strength: float = 1.0) -> None: ...

    @functools.wraps(ours)
    def wrapped() -> None: ...

    assert code_identity(ours) == "ours-1"
    assert code_identity(partial(ours, 2.0)) != code_identity(partial(ours, 3.0)) != "ours-1"
    found = code_identity(wrapped)
    assert isinstance(found, dict) and found["code"]


def test_what_has_no_file_has_a_name() -> None:
    """A callable object counts by its class; a function that was typed in has no code to digest."""

    class Shift:
        def __call__(self) -> None: ...

    by_class = code_identity(Shift())
    assert isinstance(by_class, dict) and by_class["name"].endswith("Shift") and len(by_class["code"]) == 1
    names: dict[str, Any] = {}
    exec("def typed(): pass", names)
    assert code_identity(names["typed"]) == {"name": "typed", "code": []}
