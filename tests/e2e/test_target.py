"""A search whose trials are measured by a keeper: the one way there is from the command line to another machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoopt import api
from autoopt.cli import app
from autoopt.core.records import Status
from autoopt.errors import UsageError
from autoopt.study.loop import search
from autoopt.study.request import SearchRequest
from tests import tiny
from tests.e2e.quick import LEAST

SPACE = "runtime: {name: fake, precision: f32, threads: 1, latency_ms: 1, error: [0.0, 0.02]}"


def test_a_search_on_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials are measured and confirmed there, a stored one again too; the study says where. `forget` removes all."""
    pytest.importorskip("torch")
    far, home, locks = tmp_path / "far", tmp_path / "home", tmp_path / "tmp"
    locks.mkdir()
    monkeypatch.setenv("TMPDIR", str(locks))
    monkeypatch.setenv("AUTOOPT_TARGET_HOME", str(far))
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    weights = tiny.weights(tmp_path / "tiny.safetensors")
    asked = SearchRequest(
        tiny.SOURCE, weights=weights, space=str(space), home=home, budget=2, target="local://", max_drop=0.5
    )
    study = search(asked, plan=LEAST).study
    assert [record.status for record in study.records] == [Status.COMPLETE] * 2
    assert study.front and all(record.test is not None for record in study.front)
    assert study.card.origin["target"] == "local://"
    assert len(list((far / "store" / "cases").iterdir())) == 2  # of val and of test
    (far / "store").rename(far / "before")
    replayed = api.replay(f"{study.card.name}/{study.front[0].number}", home=home)
    assert replayed.after.measurement is not None and list((far / "store").rglob("fake.json"))
    done = CliRunner().invoke(app, ["target", "forget", "local://"])
    assert "keeps nothing any more" in done.output and not (far / "store").exists()


def test_what_a_target_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` says what is there and how quiet it is, a sentence each."""
    monkeypatch.setenv("AUTOOPT_TARGET_HOME", str(tmp_path / "far"))
    done = CliRunner().invoke(app, ["target", "check", "local://", "--seconds", "0.1"])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].startswith("it answers: ") and lines[1].startswith("its versions fit: ")
    assert lines[-1].startswith("it is ") and "quiet" in lines[-1]


def test_an_address_that_is_none(tmp_path: Path) -> None:
    """A target that cannot be one is refused before anything is written."""
    home = tmp_path / "home"
    with pytest.raises(UsageError, match="--target must be ssh://HOST"):
        search(SearchRequest("histo", target="clinic-1", home=home))
    assert not list(home.glob("*.db"))
