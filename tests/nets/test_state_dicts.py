"""Which set of tensors in a checkpoint is the weights of a network."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.nets.state_dicts import WHOLE, WORDS, StateDict, Tensors, fitting, state_dicts, ways

torch = pytest.importorskip("torch")

WANTED: Tensors = {
    "stem.weight": torch.zeros(2, 3),
    "stem.num_batches_tracked": torch.tensor(0),
    "head.bias": torch.ones(2),
}
OTHER: Tensors = {"critic.weight": torch.zeros(7)}


def fits(tensors: Tensors) -> bool:
    needed = {name for name in WANTED if not name.endswith("num_batches_tracked")}
    shapes = all(name in WANTED and item.shape == WANTED[name].shape for name, item in tensors.items())
    return needed <= tensors.keys() and shapes


def found_in(checkpoint: Any) -> list[StateDict]:
    return fitting(state_dicts(checkpoint), WANTED, fits)


def under(word: str, tensors: Tensors = WANTED) -> dict[str, Any]:
    return {f"{word}.{name}": item for name, item in tensors.items()}


WORD = st.sampled_from(WORDS)


@given(
    words=st.lists(WORD, max_size=3),
    entries=st.lists(st.one_of(WORD, st.sampled_from(["state_dict", "0"])), max_size=3),
    beside=st.dictionaries(st.sampled_from(["epoch", "loss", "x"]), st.one_of(st.none(), st.integers(), st.text())),
)
def test_weights_are_found_wherever_they_are(words: list[str], entries: list[str], beside: dict[str, Any]) -> None:
    """Under any words of wrappers, in any entry, beside anything that is no tensor: the same tensors come back."""
    tensors: Any = dict(WANTED)
    for word in words:
        tensors = under(word, tensors)
    for entry in reversed(entries):
        tensors = {**beside, entry: tensors}
    (one,) = found_in({**tensors, **beside} if not entries else tensors)
    assert one.tensors.keys() == WANTED.keys()
    assert all(torch.equal(item, WANTED[name]) for name, item in one.tensors.items())
    assert one.key == ("/".join(entries) or WHOLE)
    assert bool(one.remark) == bool(words) == bool(one.prefix)


def test_names_may_lack_the_word_of_the_network() -> None:
    """A network inside a wrapper has its weights under the wrapper's word, which a file of the inner one has not."""
    inner = {"weight": torch.zeros(2, 3), "bias": torch.ones(2)}
    wanted = under("net", inner)
    (one,) = fitting(state_dicts(inner), wanted, lambda tensors: tensors.keys() == wanted.keys())
    assert list(one.tensors) == ["net.weight", "net.bias"]


def test_other_tensors_are_left_out_only_beside_a_known_wrapper() -> None:
    """A loss with weights of its own is let pass and said; a part of a larger network is not taken for a whole one."""
    (one,) = found_in({"state_dict": {**under("model"), **OTHER}})
    assert (one.key, one.prefix, one.others) == ("state_dict/model", "model.", ("critic.weight",))
    assert "left out beside them: critic.weight" in one.remark
    assert found_in({**under("encoder"), **OTHER}) == []
    assert len(found_in(under("encoder"))) == 1


def test_several_different_sets_are_all_told(tmp_path: object) -> None:
    """The average beside the last weights is another network; the same weights twice are one."""
    average = {name: item + 1 for name, item in WANTED.items()}
    found = found_in({"state_dict": dict(WANTED), "ema": average, "copy": dict(WANTED)})
    assert [one.key for one in found] == ["state_dict", "ema"]
    both = found_in({**under("model"), **under("ema_model", average)})
    assert [one.key for one in both] == ["model", "ema_model"]


def test_counts_are_no_weights() -> None:
    """Counts of batches and of work, which some tools add to every layer, keep nothing from fitting."""
    more = {
        "total_ops": torch.zeros(1),
        "stem.total_params": torch.zeros(1),
        "other.num_batches_tracked": torch.ones(1),
    }
    (one,) = found_in({**WANTED, **more})
    assert one.tensors.keys() == WANTED.keys() and one.remark == ""


def test_a_file_that_holds_itself_ends() -> None:
    """A list or mapping inside itself is looked through once."""
    endless: dict[str, Any] = {"state_dict": dict(WANTED)}
    endless["again"] = [endless, {"more": endless}]
    assert [one.key for one in state_dicts(endless)] == ["state_dict"]


def test_the_set_as_it_stands_comes_first() -> None:
    """What needs no other name is not renamed."""
    first = next(ways(StateDict(WHOLE, WANTED), WANTED))
    assert (first.prefix, first.others, first.tensors) == ("", (), WANTED)
