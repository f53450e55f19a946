"""The space: what a file means, what is wrong with one, which points there are and which come first."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core.configuration import Configuration, canonical_json
from autoopt.core.host import Host
from autoopt.errors import SpaceError
from autoopt.study.space import Count, Space, load_space, seeds
from autoopt.study.space.reading import thread_choices
from tests import toys

HOST = Host("a cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {})
BF16_HOST = Host("another", "x86_64", 6, 8_000_000_000, ("avx512_bf16",), "Linux", {})
SECTIONS = "pipeline, control, ensemble, resolution, prune, factorize, recover, quantize, runtime"


@pytest.fixture(autouse=True, scope="module")
def toy_tables() -> Iterator[None]:
    with toys.installed():
        yield


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return written


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spaces")


def load(folder: Path, document: dict[str, Any], host: Host = HOST) -> Space:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return load_space(path, host)


def problems(path: Path) -> str:
    with pytest.raises(SpaceError) as caught:
        load_space(path, HOST)
    assert all(problem.startswith(f"{path}: ") for problem in caught.value.problems)
    return str(caught.value)


def choices(*values: Any) -> st.SearchStrategy[Any]:
    """A fixed value, or a choice of some of them in some order."""
    return st.sampled_from(values) | st.lists(st.sampled_from(values), min_size=1, unique=True)


DOCUMENTS = st.fixed_dictionaries(
    {
        "runtime": st.fixed_dictionaries(
            {"name": choices("torch", "openvino")},
            optional={"precision": choices("f32", "bf16"), "threads": choices(1, 2, 3, 8) | st.just("auto")},
        )
    },
    optional={
        "description": st.text(max_size=20),
        "quantize": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "scheme": choices(None, "int8"),
                "preset": choices("performance", "mixed"),
                "cases": choices(8, 16) | st.sampled_from([{"low": 8, "high": 24, "step": 8}, {"low": 2, "high": 4}]),
                "ratio": choices(0.1, 0.5) | st.just({"low": 0.1, "high": 0.4, "step": 0.1}),
                "smooth": choices(True, False),
                "ignored_layers": choices(None, "pattern:^final"),
            },
        ),
    },
)


@given(DOCUMENTS, st.integers(0, 2**32))
def test_text_is_the_identity(folder: Path, document: dict[str, Any], seed: int) -> None:
    """The same file read twice, or written in another order, is the same space; its text is canonical JSON."""
    space = load(folder, document)
    random, shuffled = Random(seed), dict[str, Any]()
    for name in random.sample(list(document), len(document)):
        section = document[name]
        if isinstance(section, dict):
            section = {
                key: random.sample(section[key], len(section[key])) if isinstance(section[key], list) else section[key]
                for key in random.sample(list(section), len(section))
            }
        shuffled[name] = section
    assert load(folder, shuffled | {"description": "other words"}).text == space.text
    assert canonical_json(yaml.safe_load(space.text)) == space.text


@given(DOCUMENTS)
def test_count_is_the_number_of_points(folder: Path, document: dict[str, Any]) -> None:
    """The count, the listed points and the canonical forms of all raw points agree, and nothing is listed twice."""
    space = load(folder, document)
    listed = [configuration for _, configuration in space.points()]
    assert space.count() == Count(len(listed), exact=True)
    assert len(set(listed)) == len(listed)
    if space.raw_size <= 500:
        names = [dimension.name for dimension in space.dimensions]
        raws = itertools.product(*(dimension.values() for dimension in space.dimensions))
        assert {space.canonical(dict(zip(names, raw, strict=True))) for raw in raws} == set(listed)
    assert [configuration for _, configuration in space.points(3)] == listed[:3]


@given(DOCUMENTS, st.integers(0, 2**32))
def test_canonical_form_is_its_own(folder: Path, document: dict[str, Any], seed: int) -> None:
    """A canonical form, brought back to a raw point of the space, gives itself, with the same digest."""
    space = load(folder, document)
    raw = space.random(np.random.default_rng(seed))
    assert set(raw) == {dimension.name for dimension in space.dimensions}
    configuration = space.canonical(raw)
    again = space.raw_for(configuration)
    assert again is not None
    assert all(dimension.has(again[dimension.name]) for dimension in space.dimensions)
    assert space.canonical(again) == configuration
    assert space.canonical(again).digest == configuration.digest
    # What is drawn at random is among the listed points, and raw points survive JSON.
    assert configuration in {listed for _, listed in space.points()}
    assert space.canonical(yaml.safe_load(canonical_json(raw))) == configuration


@given(DOCUMENTS, st.integers(0, 2**32))
def test_what_has_no_effect_is_dropped(folder: Path, document: dict[str, Any], seed: int) -> None:
    """Points that differ only where nothing is quantized, or in threads the host lacks, are one configuration."""
    space = load(folder, document)
    raw = space.random(np.random.default_rng(seed)) | {"quantize.scheme": None, "runtime.threads": 8}
    other = space.random(np.random.default_rng(seed + 1))
    changed = {name: value for name, value in other.items() if name.startswith("quantize.")} | {"quantize.scheme": None}
    assert space.canonical({**raw, **changed, "runtime.threads": 2}) == space.canonical(raw)
    assert space.canonical(raw).section("quantize") is None


def test_scalar_list_range_and_null(write: Callable[[str], Path]) -> None:
    """A scalar is fixed, a list a choice, a mapping a range, null switches off; the rest has its default."""
    space = load_space(
        write(
            """
            schema: 1
            description: |
              two lines
              of words
            quantize:
              scheme: [null, int8]
              preset: mixed
              cases: {low: 16, high: 64, step: 16}
              ratio: {low: 0.001, high: 1, log: true}
            runtime: {name: openvino, threads: auto}
            """
        ),
        BF16_HOST,
    )
    assert (space.name, space.description) == ("mine", "two lines of words")
    assert space.fixed["quantize.preset"] == "mixed"
    assert space.fixed["quantize.smooth"] is False
    assert [d.name for d in space.dimensions if not d.fixed] == [
        "quantize.scheme",
        "quantize.cases",
        "quantize.ratio",
        "runtime.threads",
    ]
    cases, ratio, threads = (space.dimension(name) for name in ("quantize.cases", "quantize.ratio", "runtime.threads"))
    assert cases is not None and list(cases.values()) == [16, 32, 48, 64]
    assert ratio is not None and ratio.continuous and ratio.log
    assert threads is not None and threads.choices == (1, 2, 4, 6)
    assert math.isinf(space.raw_size)
    off = load_space(write("quantize: null\nruntime: {name: openvino}"), BF16_HOST)
    assert off.text == load_space(write("runtime: {name: openvino}"), BF16_HOST).text
    assert [str(configuration) for _, configuration in off.points()] == [
        "quantize=off runtime.name=openvino runtime.precision=f32 runtime.streams=1 runtime.threads=1"
    ]


@pytest.mark.parametrize(("cores", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_automatic_threads(cores: int, expected: list[int]) -> None:
    """`auto` is the powers of two up to the cores, and the cores."""
    assert thread_choices(cores) == expected


def test_every_problem_at_once(write: Callable[[str], Path]) -> None:
    """All problems of a file come in one error, each with its path, what must hold and the likely meaning."""
    text = problems(
        write(
            """
            schema: 2
            quantise: {scheme: int8}
            quantize:
              scheme: int4
              presett: mixed
              preset: [mixed, performence, mixed]
              cases: {low: 64, high: 16}
              ratio: {low: 0.1, high: 0.75, step: 0.3}
              smooth: []
              ignored_layers: off
            runtime:
              name: [openvino, torh]
              precision: [f32, [bf16]]
              threads: 1.5
              streams: {low: 1, high: 4, stepp: 1}
              latency_ms: 3
            """
        )
    )
    for expected in (
        "schema: must be 1, got 2",
        f"quantise: is not a section, allowed are {SECTIONS}, schema",
        "quantize.scheme: must be one of int8 or null, got 'int4' (did you mean int8?)",
        "quantize.presett: is not a setting of quantize, allowed are scheme, preset, cases",
        "(did you mean preset?)",
        "quantize.preset[1]: must be one of performance, mixed, got 'performence' (did you mean performance?)",
        "quantize.preset[2]: must differ from the other choices, 'mixed' is already at [0]",
        "quantize.cases: low must be below high, got low 64 and high 16",
        "quantize.ratio.high: must be low plus a whole number of steps, such as 0.7 or 1.0, got 0.75",
        "quantize.smooth: must have at least one choice (true or false), got an empty list",
        "quantize.ignored_layers: must be a text or null, got False (YAML reads on, off, yes and no",
        "runtime.name[1]: must be one of torch, openvino, fake, got 'torh' (did you mean torch?)",
        "runtime.precision[1]: must be one of f32, bf16, f16, got a list",
        "runtime.threads: must be a whole number from 1 to 64, got 1.5",
        "runtime.streams.stepp: is not part of a range, allowed are low, high, step, log (did you mean step?)",
        "runtime.latency_ms: is a setting of fake, which runtime.name does not list",
    ):
        assert expected in text
    assert len(text.splitlines()) == 15


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "",
            f"must be a mapping of sections ({SECTIONS}), got nothing",
        ),
        (
            "- a",
            f"must be a mapping of sections ({SECTIONS}), got a list",
        ),
        ("runtime: {name: torch}\nquantize: int8", "quantize: must be a mapping of settings"),
        (
            "quantize: {scheme: int8}",
            "runtime.name: must be one of torch, openvino, fake, or a list of them, got nothing",
        ),
        (
            "runtime: [torch]",
            "runtime.name: must be one of torch, openvino, fake, or a list of them, got no name in a list",
        ),
        ("runtime: {name: torch, precision: f16}", "runtime.precision: must be one of f32, bf16, got 'f16'"),
        ("runtime: {name: [torch]\n", "line 2, column 1: the file must be YAML"),
        ("runtime: {name: torch}\nruntime: {name: fake}", "runtime: must be given once, it is there again in line 2"),
        ("runtime: {name: fake, latency_ms: .nan}", "runtime.latency_ms: must be a number from 0 to 1000, got nan"),
        (
            "runtime: {name: fake, latency_ms: 1e1}",
            "must be a number from 0 to 1000, got '1e1' (a text; write it as 10)",
        ),
        ("runtime: {name: fake, latency_ms: {high: 3}}", "runtime.latency_ms.low: must be given in a range"),
        ("runtime: {name: fake, latency_ms: {low: 0, high: 3, log: true}}", "latency_ms.low: must be above 0"),
        (
            "runtime: {name: fake, latency_ms: {low: 1, high: 3, log: 1}}",
            "latency_ms.log: must be true or false, got 1",
        ),
        ("runtime: {name: fake, latency_ms: {low: 1, high: 3, step: -1}}", "latency_ms.step: must be a number above 0"),
        (
            "runtime: {name: fake, threads: {low: 1, high: 3, step: 0.5}}",
            "threads.step: must be a whole number above 0",
        ),
        ("runtime: {name: fake, precision: {low: 1, high: 3}}", "a range is for numbers only"),
        ("runtime: {name: fake, threads: true}", "runtime.threads: must be a whole number from 1 to 64, got True"),
        ("\x00", "the file must be YAML"),
    ],
)
def test_one_problem(write: Callable[[str], Path], text: str, expected: str) -> None:
    """A file that is no space says in one sentence what must hold and what came."""
    said = problems(write(text))
    assert expected in said
    assert len(said.splitlines()) == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file, a folder and a misspelt name each say what can be given."""
    with pytest.raises(SpaceError, match=r"there is no space .*nowhere.yaml: give a YAML file or one of the shipped"):
        load_space(tmp_path / "nowhere.yaml", HOST)
    with pytest.raises(SpaceError, match=r"there is no space defualt \(did you mean default\?\)"):
        load_space("defualt", HOST)
    with pytest.raises(SpaceError, match="this is a folder"):
        load_space(tmp_path, HOST)
    (tmp_path / "latin.yaml").write_bytes(b"description: \xe9")
    with pytest.raises(SpaceError, match="it is not UTF-8 text"):
        load_space(tmp_path / "latin.yaml", HOST)


def test_steps_of_a_range_are_exact(folder: Path) -> None:
    """A sampler's rounding error is not another configuration: a stepped value is always the decimal one."""
    ratio = {"low": 0.1, "high": 0.7, "step": 0.1}
    space = load(folder, {"runtime": {"name": "openvino"}, "quantize": {"smooth": True, "ratio": ratio}})
    dimension = space.dimension("quantize.ratio")
    assert dimension is not None
    assert list(dimension.values()) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert space.canonical({"quantize.ratio": 0.1 + 2 * 0.1}) == space.canonical({"quantize.ratio": 0.3})
    assert dimension.has(0.1 + 2 * 0.1) and not dimension.has(0.35) and not dimension.has(0.8)


def test_a_space_too_large_to_list_is_sampled(folder: Path) -> None:
    """A continuous or huge space has a lower bound for a count, and its points can still be walked."""
    runtime = {"name": "fake", "threads": [1, 2]}
    continuous = load(folder, {"runtime": runtime | {"latency_ms": {"low": 1, "high": 100, "log": True}}})
    assert not continuous.count().exact and continuous.count().n > 1000
    values = {configuration.section("runtime")["latency_ms"] for _, configuration in continuous.points()}  # type: ignore[index]
    assert min(values) == 1 and max(values) == 100  # type: ignore[type-var]
    drawn = continuous.canonical({"runtime.threads": 1, "runtime.latency_ms": 12.34})
    assert continuous.raw_for(drawn) is not None
    huge = load(folder, {"runtime": runtime | {"latency_ms": {"low": 0, "high": 1000, "step": 0.000001}}})
    assert huge.raw_size == 2 * 1_000_000_001
    assert not huge.count().exact
    assert len(list(huge.points(5))) == 5


def test_a_configuration_outside_has_no_raw_point(folder: Path) -> None:
    """A configuration of another runtime, another value or another section is not in the space."""
    space = load(folder, {"runtime": {"name": "openvino"}, "quantize": {"cases": [8, 16]}})
    inside = space.canonical({"quantize.cases": 8}).sections()
    assert space.raw_for(Configuration.of(inside)) is not None
    for change in (
        {"runtime": {**(inside["runtime"] or {}), "streams": 7}},
        {"runtime": {"name": "torch", "precision": "f32", "threads": 1}},
        {"quantize": {**(inside["quantize"] or {}), "cases": 12}},
        {"quantize": None},
        {"prune": {"ratio": 0.5}},
    ):
        assert space.raw_for(Configuration.of({**inside, **change})) is None


def test_seeds_come_in_order(folder: Path) -> None:
    """The reference first, even outside the space; then each runtime's f32, real low precision and plain int8."""
    document = {
        "runtime": {"name": ["fake", "openvino"], "precision": ["f32", "bf16"], "threads": [1, 4]},
        "quantize": {"scheme": [None, "int8"], "preset": ["mixed"], "cases": [16, 64]},
    }
    found = seeds(load(folder, document, BF16_HOST))
    assert [seed.label for seed in found] == [
        "torch f32",
        "openvino f32",
        "openvino bf16",
        "openvino int8",
        "fake f32",
        "fake int8",
    ]
    assert [seed.raw is None for seed in found] == [True, False, False, False, False, False]
    int8 = found[3].configuration.sections()
    assert int8["runtime"] == {"name": "openvino", "precision": "f32", "streams": 1, "threads": 4}
    assert int8["quantize"] is not None
    assert (int8["quantize"]["preset"], int8["quantize"]["cases"]) == ("mixed", 16), "the nearest to the defaults"
    assert found[0].configuration.section("runtime") == {"name": "torch", "precision": "f32", "threads": 4}
    assert len({seed.configuration for seed in found}) == len(found)
    plain = seeds(load(folder, document, HOST))
    assert [seed.label for seed in plain] == ["torch f32", "openvino f32", "openvino int8", "fake f32", "fake int8"]
    assert plain[0].configuration.runtime["threads"] == 2, "no more threads than cores"


def test_seeds_of_a_fake_space(folder: Path) -> None:
    """A space of the fake runtime alone needs no torch, and quantizes nothing it was not asked to."""
    found = seeds(load(folder, {"runtime": {"name": "fake", "threads": {"low": 1, "high": 2}}}))
    assert [seed.label for seed in found] == ["fake f32"]
    assert found[0].raw is not None
    quantized_only = seeds(load(folder, {"runtime": {"name": "openvino"}, "quantize": {"scheme": "int8"}}))
    assert [(seed.label, seed.raw is None) for seed in quantized_only] == [
        ("torch f32", True),
        ("openvino f32", True),
        ("openvino int8", False),
    ]


@given(DOCUMENTS)
def test_seeds_are_points_that_say_so(folder: Path, document: dict[str, Any]) -> None:
    """A seed with a raw point means exactly its configuration."""
    space = load(folder, document)
    for seed in seeds(space):
        assert seed.raw is None or space.canonical(seed.raw) == seed.configuration
