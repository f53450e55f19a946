"""One training of a study: what an arm changes, and what is measured of it."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from autoopt.core.packages import is_installed  # noqa: E402
from autoopt.nets.training_arms import ARMS, Trained, train_arm, why_skipped  # noqa: E402
from autoopt.nets.weights import load_weights, read_info  # noqa: E402
from tests import tiny  # noqa: E402
from tests.targets import RecordingTarget  # noqa: E402


def trained(folder: Path, arm: str, *, seed: int = 1, steps: int | None = 3) -> Trained:
    target = RecordingTarget(folder / "target")
    return train_arm(tiny.workload(), arm, seed=seed, steps=steps, threads=1, folder=folder, target=target)


def test_numbers_of_a_training(tmp_path: Path) -> None:
    """Steps, seconds, memory, joules and scores are there, and the stored weights are those that were scored."""
    found = trained(tmp_path, "fp32")
    weights = sum(item.numel() for item in tiny.build().parameters())
    tensors = len(list(tiny.build().parameters()))
    assert found.steps == 3 and found.train_s > 0 and found.setup_s > 0 and found.joules == 3.0
    assert found.state_bytes == 4 * 4 * weights + 4 * tensors
    assert found.peak_bytes >= found.added_bytes >= 0
    info = read_info(Path(found.weights))
    assert info is not None and info.val == found.scores and (info.recipe["arm"], info.recipe["seed"]) == ("fp32", 1)


def test_an_arm_changes_the_arithmetic(tmp_path: Path) -> None:
    """Half weights halve what a training keeps; each arm ends with other weights, all stored as float32."""
    found = {arm: trained(tmp_path, arm) for arm in ("fp32", "bf16", "half")}
    counts = 4 * len(list(tiny.build().parameters()))
    assert 2 * (found["half"].state_bytes - counts) == found["fp32"].state_bytes - counts
    assert found["bf16"].state_bytes == found["fp32"].state_bytes
    states = []
    for item in found.values():
        model = tiny.build()
        load_weights(model, Path(item.weights))
        states.append(torch.cat([value.flatten() for value in model.parameters()]))
        assert states[-1].dtype == torch.float32
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(states[one], states[other])
        assert torch.allclose(states[one], states[other], atol=0.1)
    assert torch.equal(states[2], states[2].bfloat16().float()) and not torch.equal(
        states[0], states[0].bfloat16().float()
    )


def test_the_seed_decides(tmp_path: Path) -> None:
    """The same seed gives the same file of weights, another one others; without a number all steps are done."""
    names = [trained(tmp_path, "fp32", seed=seed).weights for seed in (1, 1, 2)]
    assert names[0] == names[1] != names[2]
    assert trained(tmp_path, "fp32", steps=None).steps == 2 * 3  # two epochs of six cases in batches of two


def test_which_arms_run_here() -> None:
    """Only what needs torchao may be skipped, and there are six arms."""
    assert len(ARMS) == 6
    assert [arm for arm in ARMS if why_skipped(arm)] in ([], ["adam8", "bf16-adam8", "half-adam8"])
    assert is_installed("torchao") or why_skipped("adam8")
