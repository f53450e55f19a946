"""Space files read with the real steps: settings and sections that were renamed."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.compress import STEPS
from autoopt.core.host import Host
from autoopt.core.records import RENAMED_SECTIONS, RENAMED_SETTINGS
from autoopt.errors import SpaceError
from autoopt.study.space import load_space
from autoopt.study.space.settings import all_settings

HOST = Host("a cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {})


def test_old_names_say_the_new_ones(tmp_path: Path) -> None:
    """A section or setting with an old name is one problem that has the new one; what is in it is checked as well."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        """
        coarsen: {factor: [2, 99], as_int8: true, learning: 1}
        prune: {ratio: 0.5, grow: 7, steps_growth: 1}
        recover: {steps: 10, as_int8: [true, maybe]}
        runtime: {name: openvino}
        """
    )
    with pytest.raises(SpaceError) as caught:
        load_space(path, HOST)
    lines = {problem.removeprefix(f"{path}: ") for problem in caught.value.problems}
    expected = {
        "coarsen: is called resolution now: rename it",
        "coarsen.factor[1]: must be a whole number from 2 to 8 or null, got 99",
        "coarsen.as_int8: is called qat now: rename it",
        "prune.grow: is called steps_growth now: rename it",
        "recover.as_int8: is called qat now: rename it",
        "recover.as_int8[1]: must be true or false, got 'maybe'",
    }
    assert expected <= lines and len(lines) == len(expected) + 1
    assert any(line.startswith("coarsen.learning: is not a setting of resolution, allowed are") for line in lines)


def test_new_names_are_names() -> None:
    """What old names lead to is there, and no old name is in use."""
    keys = {item.key for item in all_settings()}
    assert set(RENAMED_SECTIONS.values()) <= set(STEPS) and not set(RENAMED_SECTIONS) & set(STEPS)
    assert set(RENAMED_SETTINGS.values()) <= keys and not set(RENAMED_SETTINGS) & keys


def test_both_names_at_once(tmp_path: Path) -> None:
    """A file with the old and the new name is told to rename the old one, and read by the new one."""
    path = tmp_path / "mine.yaml"
    path.write_text("coarsen: {factor: 99}\nresolution: {factor: 2}\nruntime: {name: openvino}\n")
    with pytest.raises(SpaceError) as caught:
        load_space(path, HOST)
    assert [problem.removeprefix(f"{path}: ") for problem in caught.value.problems] == [
        "coarsen: is called resolution now: rename it"
    ]
