"""A metric from a file: found by its source, called as its function, the same one only while its code is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoopt.core.configuration import Scalar
from autoopt.errors import WorkloadError
from autoopt.measure.quality import primary_sign
from autoopt.workloads.contract import Workload
from autoopt.workloads.loading import load_again, load_workload
from autoopt.workloads.own_metrics import metric

SCORES = """
from autoopt.workloads.own_metrics import metric

def hits(compared):
    return 1.0

@metric("what was missed", larger_is_better=False)
def missed(compared):
    return 0.0
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data, the source of a network and scores.py; the current folder."""
    for index in range(10):
        label = np.zeros((16, 16), np.uint8)
        label[4:8, 3 : 5 + index] = 1
        np.savez(tmp_path / f"c{index}.npz", image=label[..., np.newaxis].astype(np.float32), label=label)
    (tmp_path / "nets.py").write_text("def build():\n    raise AssertionError('nothing needs the network here')\n")
    (tmp_path / "scores.py").write_text(SCORES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(project: Path, sources: str, **options: Scalar) -> Workload:
    every = {"task": "segmentation", "own_metrics": sources, **options}
    return load_workload("model:nets.py:build", project, project / "home", every, on_remark=lambda remark: None)


def test_an_option_brings_metrics_from_a_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come before those of the task unless `metrics` says otherwise, and are found from any folder afterwards."""
    chosen = loaded(project, f"{project}/scores.py:hits", metrics="dice_foreground,hits")
    both = loaded(project, "scores.py:missed, scores.py:hits")
    assert both.metrics == ("missed", "hits", "dice_foreground", "iou_foreground") and primary_sign(both) == -1
    monkeypatch.chdir("/")
    assert both.origin is not None and load_again(both.origin).metrics == both.metrics
    assert chosen.metrics == ("dice_foreground", "hits") and primary_sign(chosen) == 1


def test_another_code_is_another_metric(project: Path) -> None:
    """Studies are told apart by direction and code of a metric of one's own, not by the place of its file."""
    (before,) = loaded(project, "scores.py:missed").own_metrics
    (project / "elsewhere.py").write_text(SCORES)
    (moved,) = loaded(project, "elsewhere.py:missed").own_metrics
    assert before.identity() == moved.identity() and before.identity()["larger_is_better"] is False
    (project / "changed.py").write_text(SCORES + "\n# changed\n")
    assert loaded(project, "changed.py:missed").own_metrics[0].identity() != before.identity()


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ("hits", "--option own_metrics must name functions as file.py:function, got hits"),
        ("other.py:hits", "other.py does not exist"),
        ("scores.py:other", "scores.py has no function 'other'"),
    ],
)
def test_what_is_not_there_is_named(project: Path, sources: str, said: str) -> None:
    """A source that leads to no function is refused before any case is read."""
    with pytest.raises(WorkloadError, match=said):
        loaded(project, sources)


def test_the_decorator_keeps_the_function_callable() -> None:
    """A decorated function is called as before, has its name, and may be given another one."""
    made = metric(name="other")(lambda compared: compared * 2)
    assert made(2) == 4 and (made.name, made.larger_is_better) == ("other", True)
