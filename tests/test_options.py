"""The options of the commands are the facts of a request, and become one again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from autoopt import cli
from autoopt.errors import UsageError
from autoopt.options import duration, largest_drop, request_of, size_bytes, takes_request
from autoopt.study.request import FACTS, SearchRequest

COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]


@pytest.fixture
def read() -> Callable[..., SearchRequest]:
    """The request that a command with these words gets."""
    app, found = typer.Typer(), []

    @app.command()
    @takes_request()
    def command(request: SearchRequest) -> None:
        found.append(request)

    def call(*words: str) -> SearchRequest:
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return found[-1]

    return call


@pytest.mark.parametrize("command", ["search", "plan"])
def test_every_fact_is_an_option(command: str) -> None:
    """`search` and `plan` have an option for every field of a request, and no others but a model's and the output's."""
    options = {parameter.name: parameter.opts[0] for parameter in COMMANDS[command].params}
    assert {item.name: item.option for item in FACTS}.items() <= options.items()
    shown = {"quiet", "as_json"} if command == "search" else set()
    assert options.keys() - {item.name for item in FACTS} == {"model", "task", "trust_bundle", *shown}


@pytest.mark.parametrize("command", ["search", "plan"])
def test_an_option_has_the_default_of_its_fact(command: str) -> None:
    """A command without options asks for what `SearchRequest()` asks for, and its help says the defaults."""
    defaults = {parameter.name: parameter.default for parameter in COMMANDS[command].params}
    assert request_of(defaults) == SearchRequest()
    text = " ".join(COMMANDS[command].get_help(typer.Context(COMMANDS[command])).split())
    for item in FACTS:
        shown = ",".join(item.default) if isinstance(item.default, tuple) else item.default
        if shown not in (None, {}, "") and shown is not False:
            assert f"[default: {shown}]" in text, item.name
        if item.otherwise is not None:
            assert f"[default: {item.otherwise}]" in text, item.name


def test_options_become_a_request(read: Callable[..., SearchRequest]) -> None:
    """Every option arrives in the field that it is of, in the field's type."""
    words: dict[str, str] = {
        "--workload": "dfu",
        "--option": "net=vgg11",
        "--budget": "9",
        "--time": "30m",
        "--data": "/d",
        "--weights": "/w.pt",
        "--weights-key": "ema",
        "--space": "quick",
        "--objectives": "latency, size",
        "--max-drop": "0.02",
        "--max-latency": "20ms",
        "--max-memory": "500MB",
        "--max-size": "2.5MiB",
        "--min-quality": "0.85",
        "--min-throughput": "50",
        "--guard": "worst_decile=0.03",
        "--study": "s",
        "--storage": "sqlite:///x.db",
        "--tracking-uri": "http://host",
        "--seed": "3",
        "--sampler": "nsga2",
        "--warm-start": "old/s",
        "--stage-timeout": "make=2h",
        "--target": "ssh://me@clinic-1",
        "--fleet": "tls://hub:8786",
        "--certs": "/certs/client",
        "--home": "/h",
    }
    assert {*words, "--retry-failed", "--no-early-stop"} == {item.option for item in FACTS}
    assert read(
        "--retry-failed", "--no-early-stop", *(word for pair in words.items() for word in pair)
    ) == SearchRequest(
        workload="dfu",
        options={"net": "vgg11"},
        budget=9,
        time_s=1800.0,
        data=Path("/d"),
        weights=Path("/w.pt"),
        weights_key="ema",
        space="quick",
        objectives=("latency", "size"),
        max_drop=0.02,
        max_latency_s=0.02,
        max_memory_bytes=500_000_000,
        max_size_bytes=2_621_440,
        min_quality=0.85,
        min_throughput=50.0,
        guards={"worst_decile": 0.03},
        target="ssh://me@clinic-1",
        fleet="tls://hub:8786",
        certs=Path("/certs/client"),
        study="s",
        storage="sqlite:///x.db",
        tracking_uri="http://host",
        seed=3,
        sampler="nsga2",
        warm_start=("old/s",),
        no_early_stop=True,
        retry_failed=True,
        stage_timeouts={"make": 7200.0},
        home=Path("/h"),
    )


def test_a_model_is_a_workload_with_options(read: Callable[..., SearchRequest]) -> None:
    """`--model` takes the place of `--workload`; `--task` and `--trust-bundle` are options of it; options repeat."""
    request = read(
        "--model", "net.onnx", "--task", "segmentation", "--trust-bundle", "--option", "a=1", "--option", "b=x=y"
    )
    assert request == SearchRequest(
        "model:net.onnx", options={"a": "1", "b": "x=y", "task": "segmentation", "trust": True}
    )


def test_a_second_target_is_a_second_word(read: Callable[..., SearchRequest]) -> None:
    """`--target` may be given twice."""
    assert read("--target", "local://", "--target", "ssh://b").targets == ("local://", "ssh://b")


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Values that cannot be read and values that make no sense are reported together."""
    words: dict[str, Any] = {
        "time_s": "soon",
        "guards": ["a", "b=c"],
        "options": ["net"],
        "stage_timeouts": ["make"],
        "budget": 0,
        "task": "x",
    }
    with pytest.raises(UsageError) as raised:
        request_of(words)
    told = [
        "--option must be",
        "--time must be",
        "--guard must be",
        "--guard must be",
        "--stage-timeout must be",
        "--task and",
        "--budget must be",
    ]
    assert len(raised.value.problems) == len(told)
    assert all(problem.startswith(words) for problem, words in zip(raised.value.problems, told, strict=True))


def test_a_command_may_take_some_facts_and_more() -> None:
    """A command that names facts has their options beside its own, and the other facts of its request are defaults."""
    app, found = typer.Typer(), []

    @app.command()
    @takes_request("budget", "home")
    def command(request: SearchRequest, csv: str = "x") -> None:
        found.append((request, csv))

    assert CliRunner().invoke(app, ["--budget", "3", "--csv", "y"]).exit_code == 0
    assert found == [(SearchRequest(budget=3), "y")]
    assert CliRunner().invoke(app, ["--seed", "3"]).exit_code == 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("10ms", 0.01), ("1.5s", 1.5), ("30m", 1800.0), ("2h", 7200.0), ("250us", 2.5e-4)]
)
def test_durations_have_units(text: str, seconds: float) -> None:
    """A duration is a number and a unit."""
    assert duration(text, "--time") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["20", "ms", "2 weeks", ""])
def test_a_duration_without_a_unit_is_refused(text: str) -> None:
    """Nobody guesses whether 20 are seconds or milliseconds."""
    with pytest.raises(UsageError, match="--time must be a number with a unit of us, ms, s, m, min, h"):
        duration(text, "--time")


@pytest.mark.parametrize(
    ("text", "size"),
    [("12B", 12), ("3kB", 3000), ("3KB", 3000), ("0.5MB", 500_000), ("2 GB", 2_000_000_000), ("1KiB", 1024)],
)
def test_sizes_have_units(text: str, size: int) -> None:
    """A size is a number and a unit; those of 1000 and those of 1024 are told apart."""
    assert size_bytes(text, "--max-size") == size


@pytest.mark.parametrize(("text", "example"), [("20", "20MB"), ("MB", "500MB"), ("-1MB", "500MB"), ("1XB", "500MB")])
def test_a_size_without_a_unit_is_refused(text: str, example: str) -> None:
    """Nobody guesses whether 20 are bytes or megabytes: what to write is said."""
    with pytest.raises(UsageError, match=f"--max-size must be a number with a unit of B, kB, MB, .*such as {example}"):
        size_bytes(text, "--max-size")


def test_a_drop_is_a_number_or_a_percentage() -> None:
    """A fraction becomes a number, a percentage stays one; anything else is refused with both forms."""
    assert (largest_drop("0.04", "--max-drop"), largest_drop("4%", "--max-drop")) == (0.04, "4%")
    with pytest.raises(UsageError, match=r"--max-drop must be a fraction from 0 to 1, or a percentage .* got much"):
        largest_drop("much", "--max-drop")
