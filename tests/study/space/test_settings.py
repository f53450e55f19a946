"""The list of all settings of a space file."""

from __future__ import annotations

from pathlib import Path

from autoopt.compress import STEPS, step
from autoopt.inference.runtimes import RUNTIMES, runtime
from autoopt.nets.importance import CRITERIA
from autoopt.study.space.pipeline import PARAMETERS
from autoopt.study.space.settings import all_settings, as_markdown

PAGE = Path(__file__).parents[3] / "docs" / "spaces.md"


def test_every_setting_is_listed_once() -> None:
    """Each setting of the pipeline, of each step and of each real runtime is in the list, under all its sections."""
    listed = [f"{section}.{item.key}" for item in all_settings() for section in item.sections]
    steps = {f"{name}.{key}" for name in STEPS for key in step(name).PARAMETERS}
    runtimes = {f"runtime.{key}" for name in RUNTIMES if name != "fake" for key in runtime(name).PARAMETERS}
    assert set(listed) == {*(f"pipeline.{key}" for key in PARAMETERS), *steps, *runtimes, "runtime.name"}
    assert len(set(listed)) == len(listed)


def test_every_setting_says_what_it_means() -> None:
    """No setting is listed without a sentence, and none has a character that would break the table."""
    assert all(len(item.parameter.help) > 10 and "|" not in item.parameter.help for item in all_settings())


def test_the_page_has_the_list() -> None:
    """docs/spaces.md has what `autoopt spaces --settings` prints: paste it there when a setting changes."""
    assert as_markdown() in PAGE.read_text()


def test_a_criterion_from_outside_is_listed() -> None:
    """A line added to the table of criteria is among the values of the setting at once."""
    CRITERIA["toy"] = "somewhere:toy"
    try:
        assert "one of l1, l2, norm_scale, fpgm, taylor, random, toy" in as_markdown()
    finally:
        del CRITERIA["toy"]
