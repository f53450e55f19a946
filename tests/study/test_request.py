"""The facts of a search are declared once: Python, the command line and what explains them cannot part."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import autoopt
from autoopt import api
from autoopt.errors import UsageError
from autoopt.study import samplers
from autoopt.study.limits import GUARDS
from autoopt.study.loop import search
from autoopt.study.numbers import objectives
from autoopt.study.request import BY_STAGE, FACTS, Fact, Facts, SearchRequest, requested
from tests import tiny
from tests.worlds import SPACE, World


@pytest.mark.parametrize("item", FACTS, ids=lambda item: item.name)
def test_every_fact_is_explained(item: Fact) -> None:
    """Each fact has a sentence, an option, and a default or words for what is used instead; `help` shows them."""
    assert item.meaning.endswith(".")
    assert item.option.startswith("--")
    units = {"s": "s", "bytes": "B", "timeouts": BY_STAGE}
    assert item.unit == (units.get(item.name.rpartition("_")[2]) if "_" in item.name else None)
    assert f"    {item.name}: {item.meaning}" in (SearchRequest.__doc__ or "")


@pytest.mark.parametrize("function", [autoopt.search, autoopt.plan, api.sensitivity])
def test_every_fact_is_an_argument(function: Callable[..., Any]) -> None:
    """`autoopt.search` and its neighbours show every field of a request as an argument with the same default."""
    shown = inspect.signature(function).parameters
    assert {name: shown[name].default for name in vars(SearchRequest())} == vars(SearchRequest())
    assert all(item.kind is not inspect.Parameter.VAR_KEYWORD for item in shown.values())


def test_editors_know_every_fact() -> None:
    """The names that editors and type checkers offer as arguments are the fields of a request, in their order."""
    assert list(Facts.__annotations__) == [item.name for item in fields(SearchRequest)]


def test_a_fact_may_be_written_in_several_types(tmp_path: Path) -> None:
    """Paths as text, lists for tuples, None for no options: the fields have one type each all the same."""
    given: dict[str, Any] = {"data": str(tmp_path), "space": tmp_path / "s.yaml", "objectives": ["latency", "size"]}
    request = requested("brain", {**given, "options": None, "guards": None, "home": "here"})  # type: ignore[typeddict-item]
    assert request == SearchRequest(
        "brain",
        data=tmp_path,
        space=str(tmp_path / "s.yaml"),
        objectives=("latency", "size"),
        home=Path("here"),
    )
    hints = get_type_hints(SearchRequest, localns={"Scalar": object})
    assert all(isinstance(getattr(request, name), Path) for name, kind in hints.items() if kind is Path)


def test_a_request_a_name_or_nothing_is_asked() -> None:
    """A request is taken with some facts changed; a name is the workload; without both the defaults stand."""
    request = SearchRequest("dfu", budget=7)
    assert requested(request, {}) == request
    assert requested(request, {"budget": 8, "seed": 1}) == SearchRequest("dfu", budget=8, seed=1)
    assert requested("dfu", {"budget": 7}) == requested(None, {"workload": "dfu", "budget": 7}) == request
    assert requested(None, {}) == SearchRequest()


def test_a_fact_that_does_not_exist_is_an_error() -> None:
    """A misspelt argument, or the workload twice, is a TypeError as of any function."""
    with pytest.raises(TypeError, match="budgett"):
        autoopt.search("histo", budgett=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="workload"):
        autoopt.search("histo", workload="brain")


def test_what_a_fact_may_be_is_told() -> None:
    """The sentences of the facts name every sampler, objective and guard that there is; the default is one of them."""
    told = {item.name: item.meaning for item in FACTS}
    assert all(name in told["sampler"] for name in samplers.SAMPLERS)
    assert all(name in told["objectives"] for name in objectives())
    assert all(name in told["guards"] for name in GUARDS)
    assert SearchRequest.sampler == samplers.DEFAULT


def test_two_targets_are_a_request_for_each() -> None:
    """A list of one is one target; of two each gets a request of its own, and a study of its own name."""
    assert SearchRequest(target=["a"]) == SearchRequest(target="a") and SearchRequest(target=[]) == SearchRequest()
    assert SearchRequest(target="a").only_target == "a" and SearchRequest().only_target is None
    both = SearchRequest(target=["a", "b"], study="s", budget=7)
    assert both.targets == ("a", "b")
    assert both.each_target() == tuple(
        SearchRequest(target=target, study=name, budget=7) for target, name in (("a", "s-1"), ("b", "s-2"))
    )
    with pytest.raises(UsageError, match="one --target must be named here, got 2"):
        _ = both.only_target


def test_the_study_storage_is_in_the_home_folder() -> None:
    """Without a storage of its own a request means the file in its home folder."""
    assert SearchRequest(home=Path("here")).storage_url == "sqlite:///here/study.db"
    assert SearchRequest(storage="postgresql://me@host/db").storage_url == "postgresql://me@host/db"


@pytest.mark.parametrize(("sampler", "origin"), [("model", "model"), ("random", "random"), ("nsga2", "nsga2")])
def test_the_sampler_that_is_asked_for_proposes(tmp_path: Path, sampler: str, origin: str) -> None:
    """After the seeds and some random points the trials of a search are those of the named sampler."""
    pytest.importorskip("torch")
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    weights = tiny.weights(tmp_path / "tiny.safetensors")
    request = SearchRequest(tiny.SOURCE, weights=weights, space=str(space), home=tmp_path, budget=14, sampler=sampler)
    result = search(request, runner=World())
    assert result.records[-1].origin == origin
