"""Which units of a network are removed: criteria, and how a cut is shared among groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from autoopt.nets import importance  # noqa: E402
from autoopt.nets.files import read_net  # noqa: E402
from autoopt.nets.surgery import removable  # noqa: E402
from autoopt.nets.tracing import Group  # noqa: E402
from tests import tiny  # noqa: E402

SIZES = st.lists(st.integers(2, 40), min_size=1, max_size=5)


def group(name: str, size: int, heads: str | None = None) -> Group:
    axes = ((f"{name}.weight", 0), (f"{name}.norm.weight", 0), (f"{name}.next.weight", 1))
    return Group(axes, tuple(((unit,), (unit,), (unit,)) for unit in range(size)), heads)


def weights_of(item: Group, seed: int = 0) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    name = item.axes[0][0].removesuffix(".weight")
    return {
        f"{name}.weight": torch.rand(len(item), 3, 3, 3, generator=random) + 0.5,
        f"{name}.norm.weight": torch.rand(len(item), generator=random) + 0.5,
        f"{name}.next.weight": torch.rand(5, len(item), 3, 3, generator=random) + 0.5,
    }


@given(
    sizes=SIZES,
    left=st.floats(0.01, 0.99),
    even=st.booleans(),
    multiple=st.sampled_from((1, 4, 8)),
    seed=st.integers(0, 50),
)
def test_every_group_keeps_something_in_multiples(
    sizes: list[int], left: float, even: bool, multiple: int, seed: int
) -> None:
    """No group vanishes, what is left is a multiple where there are as many, and only the lowest scores of it go."""
    groups = [group(f"g{place}", size) for place, size in enumerate(sizes)]
    random = np.random.default_rng(seed)
    scores = [random.random(size) for size in sizes]
    gone = importance.removed(groups, scores, left, even=even, multiple=multiple)
    for place, size in enumerate(sizes):
        units = gone.get(place, [])
        kept = size - len(units)
        assert kept >= 1 and len(set(units)) == len(units)
        assert kept % multiple == 0 or kept == size
        if units and kept:
            stay = [score for unit, score in enumerate(scores[place]) if unit not in units]
            assert max(scores[place][units]) <= min(stay)


@given(sizes=SIZES, left=st.floats(0.05, 0.95))
def test_an_even_cut_takes_the_same_share_of_all(sizes: list[int], left: float) -> None:
    """Layer by layer, what is left differs from the share asked for by less than a unit."""
    groups = [group(f"g{place}", size) for place, size in enumerate(sizes)]
    gone = importance.removed(groups, [np.arange(size) * 1.0 for size in sizes], left, even=True, multiple=1)
    assert all(
        abs(size - len(gone.get(place, [])) - size * left) <= 0.5 or size - len(gone.get(place, [])) == 1
        for place, size in enumerate(sizes)
    )


def test_groups_compete() -> None:
    """Globally the group whose scores vary gives its low ones, and a weight shifts the cut between groups."""
    groups = [group("flat", 10), group("steep", 10)]
    scores = [np.full(10, 1.0), np.array([0.1] * 5 + [1.9] * 5)]
    gone = importance.removed(groups, scores, 0.75, even=False, multiple=1)
    assert gone == {1: [0, 1, 2, 3, 4]}
    gone = importance.removed(groups, scores, 0.75, even=False, multiple=1, weight=[0.01, 1.0])
    assert set(gone) == {0}


def test_heads_are_whole() -> None:
    """The number of heads is no multiple of anything."""
    gone = importance.removed([group("attention", 3, "attention")], [np.arange(3.0)], 0.5, even=True, multiple=8)
    assert gone == {0: [0]}


@pytest.mark.parametrize("power", [1, 2])
def test_a_unit_without_weights_matters_least(power: int) -> None:
    """By size, and by the change of the loss, what is zero is lowest."""
    item = group("g", 8)
    weights = weights_of(item)
    weights["g.weight"][5] = 0
    weights["g.next.weight"][:, 5] = 0
    assert int(np.argmin(importance.magnitude(item, weights, power))) == 5
    gradients = {name: torch.ones_like(value) for name, value in weights.items()}
    assert int(np.argmin(importance.loss_change(item, weights, gradients))) == 5


def test_a_small_scale_and_a_filter_among_others_matter_least() -> None:
    """The scale of the norm decides by itself; of filters, the one nearest to all others goes first."""
    item = group("g", 8)
    weights = weights_of(item)
    weights["g.norm.weight"][2] = 1e-4
    scale = importance.mean_scale(item, weights)
    assert scale is not None and int(np.argmin(scale)) == 2
    bare = Group((("g.weight", 0),), tuple(((unit,),) for unit in range(8)))
    assert importance.mean_scale(bare, weights) is None
    weights["g.weight"][6] = weights["g.weight"].mean(dim=0)
    assert int(np.argmin(importance.distance_to_others(item, weights))) == 6


@pytest.mark.parametrize("name", importance.CRITERIA)
def test_a_criterion_scores_every_unit(name: str, tmp_path: Path) -> None:
    """Every criterion of the table gives a finite score for each unit of each group, the same each time."""
    workload = tiny.workload()
    model = read_net(workload, tiny.weights(tmp_path / "w.safetensors"))
    groups = removable(model, torch.zeros(workload.pipeline.input_shape))
    first, second = (importance.criterion(name)(groups, model, workload) for _ in range(2))
    assert [len(score) for score in first] == [len(group) for group in groups] == [tiny.WIDTH]
    assert all(np.isfinite(one).all() and np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    assert not any(item.requires_grad for item in model.parameters())


def test_an_unknown_criterion_is_named() -> None:
    """A name that is not in the table is refused with those that are."""
    with pytest.raises(KeyError, match="no criterion is called 'l3': there are l1, l2"):
        importance.criterion("l3")
