"""The values of the contract, and where users find them."""

from __future__ import annotations

from dataclasses import replace

import pytest

import autoopt
from autoopt.errors import WorkloadError
from autoopt.workloads import contract
from tests import tiny


@pytest.mark.parametrize("name", ["Case", "Recipe", "Sample", "Splits", "Workload"])
def test_public_names(name: str) -> None:
    """What a user's workload is made of is imported from `autoopt` itself."""
    assert getattr(autoopt, name) is getattr(contract, name)


def test_demo_data_is_always_called_so() -> None:
    """The title of a workload on demo data says that it is."""
    workload = tiny.workload()
    assert workload.title == "tiny" and replace(workload, demo=True).title == "tiny (demo data)"


def test_splits_by_name() -> None:
    """A split is found by its name."""
    splits = tiny.workload().splits
    assert [splits[name] for name in contract.SPLITS] == [splits.train, splits.calibration, splits.val, splits.test]


def test_a_recipe_without_augmentation() -> None:
    """The identity of a recipe is plain data, the same for a copy."""
    recipe = contract.Recipe(epochs=2, batch=4, learning_rate=1e-3, tile=(8, 8))
    assert recipe.identity() == replace(recipe).identity()
    assert recipe.identity()["augment"] is None and recipe.identity()["tile"] == [8, 8]


def test_a_recipe_has_no_limit_of_time() -> None:
    """A recipe of before, by name or by place, is refused with what to do now."""
    for give in (
        lambda: contract.Recipe(2, 4, 1e-3, max_seconds=900.0),
        lambda: contract.Recipe(2, 4, 1e-3, 0.1, 900.0),
    ):
        with pytest.raises(WorkloadError, match=r"must not have max_seconds any more, got 900.0: take it out.*--time"):
            give()
