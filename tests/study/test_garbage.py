"""Making room in a home folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoopt import api
from autoopt.core.store import KIND, Store, file_digest
from autoopt.errors import BusyError
from autoopt.study.garbage import needed
from autoopt.study.request import default_storage
from autoopt.study.study import open_study
from tests.worlds import World, card_of, space_of


def searched(home: Path, budget: int = 12) -> None:
    """A study in the home whose trials all have an export and a model of their own in the store."""
    store = Store(home / "store")
    home.mkdir()
    space = space_of(home)
    with open_study(default_storage(home), card_of(space), space) as study:
        for proposal in study.proposals(budget):
            key = proposal.configuration.digest
            parent, model = f"1{key[1:]}", f"2{key[1:]}"
            store.put(KIND, parent, {}, lambda folder: {"written": (folder / "a").write_bytes(b"123")})
            store.put(KIND, model, {"parent": parent}, lambda folder: {"written": (folder / "a").write_bytes(b"1")})
            world = World(artifacts=(parent, model))
            study.tell(proposal, world.run(proposal, study.result))


def test_what_a_study_needs_is_kept(tmp_path: Path) -> None:
    """Front and references stay with what they were made from; the rest goes, and a second look finds nothing."""
    home = tmp_path / "home"
    searched(home)
    study, store = api.front(home=home), Store(home / "store")
    keep = set(needed(study))
    assert {record.artifacts[-1] for record in study.front} < keep
    before = {artifact.key for artifact in store.artifacts()}
    assert len(before) == 24 and len(keep) < 24
    found = api.gc(home=home)
    assert {artifact.key for artifact in found.artifacts} == before - keep
    assert {artifact.key for artifact in store.artifacts()} == keep
    assert found.kept_bytes == store.size_bytes() and found.freed_bytes == 2 * len(before - keep)
    assert api.gc(home=home).artifacts == ()


def test_no_more_is_removed_than_asked_for(tmp_path: Path) -> None:
    """With room for all nothing goes; a home without a study has nothing that is needed."""
    home = tmp_path / "home"
    searched(home)
    assert api.gc(home=home, most_bytes=10**6).artifacts == ()
    (home / "study.db").unlink()
    assert api.gc(home=home).kept_bytes == 0


def test_the_weights_of_a_study_are_kept(tmp_path: Path) -> None:
    """What an old interrupted training left is removed, but not the weights that a study was made with."""
    pytest.importorskip("torch")
    from tests.nets.test_leftovers import INTERRUPTED, checkpoint, weights

    home = tmp_path / "home"
    home.mkdir()
    forgotten = checkpoint(home / "weights", 40)
    weights(home / "weights", 90, 0.9)
    needed, other = (weights(home / "weights", 90, score, **{INTERRUPTED: True}) for score in (0.6, 0.5))
    space = space_of(home)
    card = replace(card_of(space), weights_digest=file_digest(needed))
    with open_study(default_storage(home), card, space):
        pass
    found = api.gc(home=home)
    assert {path for path, _ in found.trainings} == {forgotten, other} and found.training_bytes > 0
    assert needed.exists() and not other.exists()


def test_nothing_is_removed_under_a_running_search(tmp_path: Path) -> None:
    """While one of its studies is searched a home is left alone."""
    home = tmp_path / "home"
    searched(home, 2)
    space = space_of(home)
    with open_study(default_storage(home), card_of(space), space), pytest.raises(BusyError, match="being searched"):
        api.gc(home=home)
