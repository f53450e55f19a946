"""Bundles that are measured again: which stay, and why the others go."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from autoopt.cli import app
from autoopt.core.stats import LogRatio
from autoopt.deploy.remeasure import Again, _compared, in_words, remeasure
from autoopt.errors import UsageError
from tests.deploy.bundles import QUICK, reseal, with_self_test


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the fake model with its self-test."""
    return with_self_test(tmp_path_factory.mktemp("made"))


def picked_for(most_s: float) -> Callable[[dict[str, Any]], None]:
    """A change of bundle.json: the limit on the latency that its pick had."""

    def change(card: dict[str, Any]) -> None:
        card["choice"] = {"limits": {"latency_bound_s": most_s}}

    return change


def test_what_is_as_it_was_stays(made: Path) -> None:
    """A bundle that answers as it did and was promised nothing stays; what was found is in words and in JSON."""
    (found,) = remeasure([made], stand_ins=True, plan=QUICK)
    assert found.checked.passed and found.stays and found.ratio is not None and found.now_ms is not None
    assert in_words([found])[0].startswith(f"stays {made}: ")
    assert json.loads(json.dumps(found.to_json()))["stays"] is True


def test_a_promise_that_is_broken_is_told(made: Path, tmp_path: Path) -> None:
    """A latency above the limit that a bundle was picked with is a reason to go; one below is none."""
    folders = [Path(shutil.copytree(made, tmp_path / name)) for name in ("kept", "broken")]
    reseal(folders[0], picked_for(1e6))
    reseal(folders[1], picked_for(1e-9))
    kept, broken = remeasure(folders, stand_ins=True, plan=QUICK)
    assert kept.promises == () and not broken.stays
    assert "it was picked for at most 0.00 ms" in broken.promises[0] and broken.promises[0] in "\n".join(
        in_words([broken])
    )


def test_an_altered_bundle_goes(made: Path, tmp_path: Path) -> None:
    """What does not pass its check goes with the reason, and the others are measured all the same."""
    spoilt = Path(shutil.copytree(made, tmp_path / "spoilt"))
    (spoilt / "self_test" / "noise-output.npy").write_bytes(b"other")
    bad, good = remeasure([spoilt, made], stand_ins=True, plan=QUICK)
    assert not bad.stays and bad.ratio is None and good.checked.passed
    assert "was altered" in "\n".join(in_words([bad]))


def again(made: Again, name: str, times: float, quality: float, error: float = 0.01) -> Again:
    ratio = LogRatio(math.log(times), error, (math.log(times),) * 3)
    return replace(
        made, checked=replace(made.checked, folder=Path(name)), ratio=ratio, quality=quality, sigma=0.01, now_ms=times
    )


def test_behind_is_surely_slower_and_no_better(made: Path) -> None:
    """A bundle goes where another is surely faster and at least as good; noise and a better quality keep it."""
    (first,) = remeasure([made], stand_ins=True, plan=QUICK)
    fast, slow = again(first, "fast", 1.0, 0.90), again(first, "slow", 2.0, 0.90)
    better, alike = again(first, "better", 2.0, 0.95), again(first, "alike", 1.01, 0.90, error=0.1)
    every = (fast, slow, better, alike)
    assert [_compared(item, every).behind for item in every] == [None, Path("fast"), None, None]
    assert _compared(replace(slow, now_ms=0.9), every).behind is None  # only the probe beside it was faster


def test_what_cannot_be_compared_is_refused(made: Path, tmp_path: Path) -> None:
    """No bundle, one named twice, and two workloads are bad input."""
    other = Path(shutil.copytree(made, tmp_path / "other"))
    reseal(other, lambda card: card.update(workload="another"))
    for folders, said in (([], "must be named"), ([made, made], "each once"), ([made, other], "of one workload")):
        with pytest.raises(UsageError, match=said):
            remeasure(folders, stand_ins=True, plan=QUICK)
    done = CliRunner().invoke(app, ["remeasure", str(made), str(other)])
    assert isinstance(done.exception, UsageError)
