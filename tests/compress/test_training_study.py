"""A training study: a process for each row, rows that are kept, and what goes wrong in one of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from autoopt.compress.training_study import (  # noqa: E402
    COMPLETE,
    FAILED,
    SKIPPED,
    Row,
    StudyPlan,
    TrainingStudy,
    training_study,
)
from autoopt.core.packages import is_installed  # noqa: E402
from autoopt.errors import StorageError, UsageError  # noqa: E402
from autoopt.measure.target import LocalTarget  # noqa: E402

NETWORKS = """
from dataclasses import replace
import torch
from tests import tiny

class Broken(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, image):
        raise RuntimeError("this network is broken")

def workload(data, net="tiny"):
    found = tiny.workload()
    return replace(found, name=f"tiny-{net}", **({"build": Broken} if net == "broken" else {}))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("networks") / "networks.py"
    path.write_text(NETWORKS)
    return f"{path}:workload"


def run(source: str, home: Path, **changes: object) -> tuple[TrainingStudy, list[Row]]:
    told: list[Row] = []
    plan = StudyPlan(source, steps=2, seeds=(1,), **changes)  # type: ignore[arg-type]
    return training_study(plan, home, on_row=told.append, target=LocalTarget(locks=home)), told


def test_rows_are_trained_quantized_and_kept(source: str, tmp_path: Path) -> None:
    """Each row has numbers of its training and of its INT8 network; a second run takes them from their files."""
    pytest.importorskip("nncf")
    study, told = run(source, tmp_path, arms=("half",))
    (row,) = told
    assert list(study.rows) == told and (row.arm, row.seed) == ("half", 1)
    assert (row.status, row.network, row.metric) == (COMPLETE, "tiny-tiny", "dice_macro")
    assert row.trained["steps"] == 2 and row.trained["train_s"] > 0 and row.trained["state_bytes"] > 0
    assert {"dice_macro", "dice_foreground"} <= {*row.trained["scores"]} & {*row.int8["scores"]}
    assert row.int8["seconds"] > 0 and row.int8["float_seconds"] > 0
    (path,) = (tmp_path / "training" / "rows").iterdir()
    plain = json.loads(path.read_text())
    path.write_text(json.dumps({**plain, "reason": "from the file"}))
    again, _ = run(source, tmp_path, arms=("half",))
    assert [row.reason for row in again.rows] == ["from the file"]
    path.write_text("[]")
    with pytest.raises(StorageError, match="must be a row of a training study: delete it"):
        run(source, tmp_path, arms=("half",))


def test_a_row_that_fails_is_one_row_and_tried_again(source: str, tmp_path: Path) -> None:
    """The cause of a failure is in its row, the others go on, and the next run does not take it for done."""
    for _ in range(2):
        study, _ = run(source, tmp_path, arms=("fp32",), vary={"net": ("broken",)})
        (row,) = study.rows
        assert (row.network, row.status, row.trained) == ("net=broken", FAILED, {})
        assert "this network is broken" in row.reason
        (path,) = (tmp_path / "training" / "rows").iterdir()
        plain = json.loads(path.read_text())
        assert plain["status"] == FAILED
        path.write_text(json.dumps({**plain, "reason": "from the file"}))


@pytest.mark.skipif(is_installed("torchao"), reason="torchao is installed")
def test_what_cannot_run_is_skipped_with_its_reason(source: str, tmp_path: Path) -> None:
    """Without torchao the rows of its optimiser are skipped, say what to install, and are not stored."""
    study, told = run(source, tmp_path, arms=("adam8", "half-adam8"))
    assert [row.status for row in told] == [SKIPPED, SKIPPED] and study.metric == "dice_macro"
    assert all("pip install 'autoopt[training]'" in row.reason for row in told)
    assert not (tmp_path / "training" / "rows").exists()


def test_every_combination_is_a_row() -> None:
    """Values of options, arms and seeds are combined; all that is wrong with a plan is told at once."""
    plan = StudyPlan("dfu", vary={"net": ("vit", "swin"), "size": ("64", "128")}, seeds=(1, 2, 3))
    assert plan.networks[1] == {"net": "vit", "size": "128"} and plan.count == 4 * 6 * 3
    with pytest.raises(UsageError) as raised:
        StudyPlan("dfu", options={"net": "vit"}, vary={"net": ("vit",)}, arms=("fp8",), seeds=(), steps=1)
    assert len(raised.value.problems) == 4


def test_an_unknown_option_is_refused_before_any_training(tmp_path: Path) -> None:
    """A value that the workload does not know ends the study before its first row."""
    told: list[Row] = []
    with pytest.raises(UsageError, match="net"):
        training_study(StudyPlan("dfu", vary={"net": ("vit", "resnet")}), tmp_path, on_row=told.append)
    assert told == [] and not (tmp_path / "training" / "rows").exists()
