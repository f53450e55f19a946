"""The pieces of one training step."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from autoopt.nets.training_step import channels_last, distance, loss_of, rate_at  # noqa: E402
from autoopt.workloads.contract import IGNORED  # noqa: E402


@given(seed=st.integers(0, 100), activation=st.sampled_from(["softmax", "sigmoid", "identity"]))
def test_the_distance_is_zero_for_the_same_answer_only(seed: int, activation: str) -> None:
    """Equal answers are at zero, others farther."""
    random = torch.Generator().manual_seed(seed)
    one, other = (torch.randn(2, 3, 4, 4, generator=random) for _ in range(2))
    assert abs(float(distance(one, one, activation))) < 1e-5
    assert float(distance(one, other, activation)) > 1e-3


def test_the_rate_rises_then_falls_to_nothing() -> None:
    """One cycle: from a fifth of the highest rate up in a tenth of the work, then down to zero."""
    assert rate_at(0.0) == pytest.approx(0.2) and rate_at(0.1) == 1.0 and rate_at(1.0) == pytest.approx(0.0)
    rates = [rate_at(item / 100) for item in range(101)]
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize("multilabel", [False, True])
def test_right_answers_lose_least(multilabel: bool) -> None:
    """Sure and right loses nearly nothing, sure and wrong much, undecided what chance loses."""
    truth = torch.tensor([[[0, 1], [1, 0]]])
    references = torch.stack([truth, 1 - truth], dim=-1) if multilabel else truth
    sure = torch.stack([truth * 2.0 - 1, 1 - truth * 2.0], dim=1) * 20
    sure = sure if multilabel else -sure
    activation = "sigmoid" if multilabel else "softmax"
    losses = [float(loss_of(logits, references, activation)) for logits in (sure, 0 * sure, -sure)]
    assert losses[0] < 0.15 < losses[1] < losses[2]
    assert losses[1] == pytest.approx(math.log(2) + 1 - 3 / 5)


@pytest.mark.parametrize("multilabel", [False, True])
def test_ignored_pixels_do_not_count(multilabel: bool) -> None:
    """The loss is that of the pixels whose label is known, whatever is answered elsewhere."""
    random = torch.Generator().manual_seed(0)
    references = torch.randint(0, 2, (2, 4, 4, 2) if multilabel else (2, 4, 4), generator=random)
    references[:, 0] = IGNORED
    logits = torch.randn(2, 2, 4, 4, generator=random)
    other = logits.clone()
    other[:, :, 0] = 50.0
    assert float(loss_of(other, references, "sigmoid" if multilabel else "softmax")) == pytest.approx(
        float(loss_of(logits, references, "sigmoid" if multilabel else "softmax"))
    )


def test_an_image_has_no_dice() -> None:
    """Where the reference is one class for an image, the loss is the cross-entropy alone."""
    logits, classes = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    assert torch.allclose(loss_of(logits, classes, "softmax"), torch.nn.functional.cross_entropy(logits, classes))


def test_channels_last_changes_the_layout_only() -> None:
    """Images, volumes and networks keep their values; what has another number of axes stays as it is."""
    for shape, layout in (((2, 3, 4, 4), torch.channels_last), ((1, 2, 4, 4, 4), torch.channels_last_3d)):
        batch = torch.randn(shape)
        assert channels_last(batch).is_contiguous(memory_format=layout) and torch.equal(channels_last(batch), batch)
    assert channels_last(matrix := torch.randn(2, 3)) is matrix
    for kind, layout in ((torch.nn.Conv2d, torch.channels_last), (torch.nn.Conv3d, torch.channels_last_3d)):
        assert channels_last(kind(4, 4, 3)).weight.is_contiguous(memory_format=layout)
