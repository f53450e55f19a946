"""Artifacts that are measured as they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoopt.core.records import Status, TrialRecord
from autoopt.core.store import KIND, Artifact, Store
from autoopt.errors import StorageError
from autoopt.inference.runtimes import BASELINE_LABEL, REFERENCE_LABEL
from autoopt.study.trial.kept import kept
from tests.worlds import point


def stored(store: Store, key: str) -> Artifact:
    def build(folder: Path) -> Mapping[str, Any]:
        return {"bytes": (folder / "model").write_text(key)}

    return store.put(KIND, key, {}, build)


def trial(number: int, *keys: str, **changes: Any) -> TrialRecord:
    return replace(TrialRecord(point(latency_ms=number), Status.COMPLETE, number), artifacts=keys, **changes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path)
    for key in ("a", "b", "c"):
        stored(found, key * 64)
    return found


def test_a_chain_is_what_is_left_of_it(store: Store) -> None:
    """The measured artifact must be there, what it was made from need not; what was not kept has no chain."""
    found = kept([trial(2, "a" * 64, "f" * 64, "b" * 64), trial(3, "c" * 64)], store, "s")
    assert [item.key[0] for item in found.chain(point(latency_ms=2))] == ["a", "b"]
    assert [item.key[0] for item in found.chain(point(latency_ms=3))] == ["c"]
    assert found.chain(point(latency_ms=4)) == []


def test_others_are_compared_with_float_seeds_alone(store: Store) -> None:
    """Only a trial that was a seed in true FP32 may be the reference."""
    labels = ((REFERENCE_LABEL, "seed"), ("fake int8", "seed"), (BASELINE_LABEL, "seed"), (REFERENCE_LABEL, "arm"))
    records = [
        trial(number, "a" * 64, label=label, origin=origin) for number, (label, origin) in enumerate(labels, start=1)
    ]
    assert [seed.label for seed in kept(records, store, "s").seeds] == [REFERENCE_LABEL, BASELINE_LABEL]


def test_what_is_gone_or_altered_is_refused(store: Store) -> None:
    """Another artifact would be another model: the trial is named, with what makes its artifact again."""
    for keys in ((), ("f" * 64,), ("a" * 64, "f" * 64)):
        with pytest.raises(StorageError, match=r"the artifact of trial #7 must be in .*autoopt replay s/7"):
            kept([trial(7, *keys)], store, "s")
    artifact = store.get(KIND, "a" * 64)
    assert artifact is not None
    (artifact.path / "model").write_text("other")
    with pytest.raises(StorageError, match="altered"):
        kept([trial(7, "a" * 64)], store, "s")
