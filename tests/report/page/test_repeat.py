"""How to repeat a study, as the report says it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from autoopt.options import request_of
from autoopt.report.next_commands import Place
from autoopt.report.page import repeat
from autoopt.report.page.html import text_of
from autoopt.report.page.repeat import search_command
from autoopt.report.page.subject import Subject
from autoopt.study.limit_arguments import LimitArguments
from autoopt.study.request import FACTS
from autoopt.study.space import load_space
from tests.report.page.planted import planted_study
from tests.worlds import HOST

LIMITS = {
    "drop": 0.0125,
    "latency_bound_s": 0.0203,
    "memory_bytes": 123456789.0,
    "size_bytes": 20e6,
    "worst_decile": 0.05,
}
ORIGIN = {
    "source": "model:my nets/a.onnx",
    "data": "/data/the scans",
    "weights": "/w.pt",
    "options": {"task": "segmentation", "trust": True, "channels": "3"},
}


def test_the_search_command_asks_for_the_same_study() -> None:
    """Read as `autoopt search` reads it, the command means the model, data, limits, seed and space of the study."""
    text = load_space("quick", HOST).text
    study = planted_study(demo=False, origin=ORIGIN, space=text, limits=LIMITS, seed=3)
    words = shlex.split(search_command(study, Place(Path("some where"))))
    assert words[:2] == ["autoopt", "search"]
    words.remove("--trust-bundle")
    given = list(zip(words[2::2], words[3::2], strict=True))
    names = {item.option: item.name for item in FACTS} | {"--model": "model", "--task": "task"}
    options: dict[str, object] = {"trust_bundle": True} | {names[option]: value for option, value in given}
    options |= {names[key]: [v for option, v in given if option == key] for key in ("--option", "--guard")}
    request = request_of({**options, "budget": int(str(options["budget"])), "seed": int(str(options["seed"]))})
    assert request.workload == ORIGIN["source"] and request.options == ORIGIN["options"]
    assert (str(request.data), str(request.weights)) == (ORIGIN["data"], ORIGIN["weights"])
    assert {**LimitArguments.of(request).limits(), **request.guards} == pytest.approx(LIMITS)
    assert (request.seed, request.study, request.space) == (3, "planted", "space.yaml")
    assert str(request.home) == "some where"


def test_demo_data_needs_no_paths() -> None:
    """A study of the demo names no file, and one without a limit on the drop says so."""
    command = search_command(planted_study(origin={"weights": "/somewhere/demo.safetensors"}, limits={}), Place())
    assert "/somewhere" not in command and "--max-drop 100%" in command and "--home" not in command


def test_the_page_says_what_the_study_is() -> None:
    """Host, versions, digests and the commands of a trial are told, and the space can be saved."""
    text = load_space("quick", HOST).text
    shown = text_of(repeat.render(Subject(planted_study(space=text))))
    for wanted in ("da7a", "3e16", HOST.fingerprint, "python 3.11", "12 configurations of 4 settings", "drop <= 0.03"):
        assert wanted in shown.replace("&lt;", "<")
    assert "autoopt replay planted/" in shown and "autoopt explain planted/" in shown and "runtime" in shown
