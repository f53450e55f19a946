"""Space files of any kind are read, or refused as space files, in little time and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from autoopt.study.space import load_space
from tests.fuzz.probe import ACCEPTED, REFUSED, Probe
from tests.fuzz.strategies import altered, damaged, doubling, examples, nested
from tests.fuzz.targets import HOST

Probes = Callable[[str], Probe]
SHIPPED = Path(__file__).parents[2] / "search_spaces"
TEXTS = [path.read_text() for path in sorted(SHIPPED.glob("*.yaml"))]
DOCUMENTS = [yaml.safe_load(text) for text in TEXTS]

REFUSED_TEXTS = {
    "aliases that double": doubling(40) + "runtime: *x39\n",
    "aliases in a choice": doubling(40) + "runtime: {name: *x39}\n",
    "merges that double": "a0: &a0 {x: 1}\n"
    + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40)),
    "an alias of itself": "runtime: &r {name: *r}\n",
    "a list that holds itself": "runtime: {name: &n [fake, *n]}\n",
    "deep lists": nested(100_000),
    "deep mappings": nested(20_000, "{a: ", "}"),
    "deep block lists": "- " * 100_000,
    "50 000 choices": "runtime: {name: fake, threads: [" + ", ".join(map(str, range(1, 50_001))) + "]}\n",
    "50 000 sections": "".join(f"s{number}: {{}}\n" for number in range(50_000)),
    "a large file": "description: " + "x" * 20_000_000 + "\n",
    "a long key": "runtime: {name: fake, " + "x" * 500_000 + ": 1}\n",
    "a long value": "runtime: {name: " + "x" * 500_000 + "}\n",
    "a python object": "runtime: !!python/object/apply:os._exit [1]\n",
    "an unknown tag": "runtime: !vec {name: fake}\n",
    "an empty integer": "runtime: {name: fake, threads: !!int ''}\n",
    "an odd integer": "runtime: {name: fake, threads: !!int x}\n",
    "an odd truth": "runtime: {name: fake, threads: !!bool x}\n",
    "an odd date": "runtime: {name: fake, threads: 2020-13-45}\n",
    "an odd time": "runtime: {name: fake, threads: !!timestamp x}\n",
    "binary": "runtime: {name: fake, threads: !!binary '%'}\n",
    "a set": "runtime: !!set {name, fake}\n",
    "pairs": "runtime: !!pairs [name: fake]\n",
    "a key that is a list": "? [a, b]\n: 1\n",
    "a key that is a mapping": "? {a: b}\n: 1\n",
    "5 000 digits": "runtime: {name: fake, threads: " + "9" * 5000 + "}\n",
    "400 digits": "runtime: {name: fake, latency_ms: {low: 0, high: " + "9" * 400 + "}}\n",
    "a step of nothing": "runtime: {name: fake, latency_ms: {low: 0, high: 1, step: 1.0e-300}}\n",
    "a step beyond all digits": "runtime: {name: fake, latency_ms: {low: 0, high: 1, step: 1.0e-40}}\n",
    "a second document": "runtime: {name: fake}\n---\nruntime: {name: fake}\n",
    "another directive": "%YAML 9.9\n---\nruntime: {name: fake}\n",
    "control characters": "runtime: {name: \x07}\n",
    "empty": "",
}
"""What has hurt a reader of YAML before."""


def tried(probe: Probe, text: str | bytes) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "space.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
        outcome = probe(path)
    assert outcome.good, outcome
    return outcome.kind


@pytest.mark.parametrize("name", REFUSED_TEXTS)
def test_a_space_file_that_cannot_be_used_is_refused(probe: Probes, name: str) -> None:
    """A space file that doubles, contains itself, is deep, large or odd is refused in words."""
    assert tried(probe("space"), REFUSED_TEXTS[name]) == REFUSED


@examples(60)
@given(st.sampled_from(TEXTS).flatmap(lambda text: damaged(text.encode())))
def test_a_damaged_space_file_is_read_or_refused(probe: Probes, text: bytes) -> None:
    """A shipped space with any bytes changed is a space, or refused."""
    tried(probe("space"), text)


@examples(80)
@given(st.sampled_from(DOCUMENTS).flatmap(altered))
def test_a_space_of_odd_values_is_read_or_refused(probe: Probes, document: object) -> None:
    """A shipped space with odd values in any place is a space, or refused."""
    try:
        text = yaml.safe_dump(document, allow_unicode=False)
    except yaml.YAMLError:
        return
    tried(probe("space"), text)


def test_aliases_may_be_used(probe: Probes, tmp_path: Path) -> None:
    """A value that is written once and used twice is no attack."""
    text = "runtime:\n  name: &names [fake]\n  precision: &p [f32]\nquantize: {scheme: null}\n"
    assert tried(probe("space"), text + "description: *p\n") == ACCEPTED
    (tmp_path / "space.yaml").write_text(
        "runtime: {name: [fake], threads: &t [1, 2], streams: *t}\n".replace(", streams: *t", "")
    )
    assert load_space(tmp_path / "space.yaml", HOST).random
