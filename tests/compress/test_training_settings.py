"""The settings of all steps that train, and what follows from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from autoopt.compress import training_settings
from autoopt.nets.holdout import split
from tests import tiny


def test_rate_and_batch_are_those_of_the_recipe_or_of_the_step() -> None:
    """Without a rate a step learns as fast as the workload's own training, with one as fast as that; its batch too."""
    workload, settings = tiny.workload(), {"steps": 10, "batch": 2, "training_precision": "f32"}
    assert training_settings.plan_of(settings, workload).learning_rate == workload.recipe.learning_rate
    assert training_settings.plan_of({**settings, "learning_rate": 0.25}, workload).learning_rate == 0.25
    wide = replace(workload, recipe=replace(workload.recipe, batch=16))
    assert training_settings.plan_of(settings, wide).batch == 2
    assert training_settings.plan_of({**settings, "batch": None}, wide).batch == 16


def test_steps_may_be_counted_in_epochs() -> None:
    """An epoch is every case that is learnt from, not those held out, `batch` at a time."""
    workload, settings = tiny.workload(), {"steps": 9, "unit": "epochs", "training_precision": "f32"}
    learnt, held = split(workload.splits.train)
    assert (len(learnt), len(held)) == (2, 1)
    asked = {batch: training_settings.plan_of({**settings, "batch": batch}, workload).steps for batch in (2, 4)}
    assert asked == {2: 9, 4: 5}
    assert training_settings.plan_of({**settings, "unit": "steps", "batch": 4}, workload).steps == 9
