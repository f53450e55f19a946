"""The spaces of published experiments: their arms are what was compared there, each a trial of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from autoopt.core.host import Host
from autoopt.study.space import arms, load_space, named_arms
from benchmarks.experiments import EXPERIMENTS, main, table

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "experiments.md").read_text()
HOST = Host("a cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {})
STUDIES = ("thakur2025-brain", "thakur2025-histo", "thakur2025-dfu")


@pytest.mark.parametrize("name", [item.space for item in EXPERIMENTS])
def test_every_arm_is_a_trial_of_its_own(name: str) -> None:
    """No two arms are the same on a host, and each has all that its file says of it."""
    space = load_space(name, HOST)
    found = {arm.label: arm.configuration.flat() for arm in arms(space)}
    written = yaml.safe_load((ROOT / "search_spaces" / f"{name}.yaml").read_text()).get("arms", {})
    assert list(found) == list(named_arms(space)) == list(written)
    for label, sections in written.items():
        for section, settings in sections.items():
            for key, value in settings.items():
                assert found[label].get(f"{section}.{key}") == value, (label, section, key)


@pytest.mark.parametrize("name", STUDIES)
def test_the_arms_of_the_study_are_there(name: str) -> None:
    """References, INT8 with and without control and training, five ratios without and two arms with distillation."""
    found = [arm.configuration.flat() for arm in arms(load_space(name, HOST))]
    assert sum(flat.get("quantize.accuracy_drop") is not None for flat in found) == 1
    assert sum(flat.get("quantize.scheme") == "int8-qat" for flat in found) == 2
    cut = [flat for flat in found if flat.get("prune.ratio")]
    assert all(flat["prune.criterion"] == "fpgm" and flat["prune.rungs"] is None for flat in cut)
    alone = [flat["prune.ratio"] for flat in cut if flat.get("prune.distil") is False]
    assert alone == [0.5, 0.6, 0.7, 0.8, 0.9] and len(cut) == 7


def test_the_controls_are_as_large_as_what_they_control() -> None:
    """Both networks begun anew have the ratio and the rungs of the one that was cut."""
    found = {arm.label: arm.configuration.flat() for arm in arms(load_space("sculpting2023", HOST))}
    assert len({(flat["prune.ratio"], flat["prune.rungs"]) for flat in found.values()}) == 1
    fresh = [flat.get("prune.distil", True) for flat in found.values() if flat["prune.weights"] == "fresh"]
    assert fresh == [True, False]


def test_the_page_has_the_command_of_each() -> None:
    """docs/experiments.md searches with every preset, on the workload that the script takes."""
    commands = re.findall(r"^    autoopt search (.*)$", PAGE, re.MULTILINE)
    for item in EXPERIMENTS:
        assert any(f"--space {item.space}" in command for command in commands), item.space


def test_an_unknown_experiment_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The names that there are are said, and nothing is run; an experiment that failed is a row with its error."""
    with pytest.raises(SystemExit) as raised:
        main(["sculpting2024"])
    assert raised.value.code == 2 and "sculpting2023" in capsys.readouterr().err
    told = table([{"preset": "energy2023", "error": "", "skipped": "it needs a host that tells its energy"}])
    assert "| energy2023 | | it needs a host that tells its energy | |" in told
