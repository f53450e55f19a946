"""Files of weights as trainings leave them, read without running anything of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.errors import WeightsError
from autoopt.nets.weights import load_weights
from autoopt.nets.weights_file import read_file
from tests import tiny

torch = pytest.importorskip("torch")


def trained() -> Any:
    torch.manual_seed(1)
    return tiny.build()


def under(word: str, tensors: dict[str, Any]) -> dict[str, Any]:
    return {f"{word}.{name}": item for name, item in tensors.items()}


FORMS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "plain": lambda state: state,
    "DataParallel": lambda state: under("module", state),
    "torch.compile": lambda state: under("_orig_mod", state),
    "compiled and parallel": lambda state: under("module._orig_mod", state),
    "Lightning": lambda state: {
        "state_dict": {**under("model", state), "loss.weight": torch.zeros(2)},
        "epoch": 1,
        "hyper_parameters": {"lr": 1e-3},
        "pytorch-lightning_version": "2.4.0",
    },
    "MONAI": lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": []}},
    "GaNDLF": lambda state: {"model_state_dict": state, "epoch": 3, "loss": 0.1, "parameters": {"patch_size": [1]}},
    "nnU-Net": lambda state: {
        "network_weights": state,
        "trainer_name": "nnUNetTrainer",
        "logging": {"val": [np.float64(0.5)], "loss": [np.float32(1)]},
        "_best_ema": np.float32(0.7),
        "epoch": np.int64(3),
    },
    "U-Net tutorial": lambda state: {**state, "mask_values": [0, 255]},
    "half": lambda state: {name: item.half() for name, item in state.items()},
    "a list": lambda state: [state],
    "averaged": lambda state: {**under("module", state), "n_averaged": torch.tensor(3)},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("old", [False, True])
def test_weights_are_taken_as_trainings_leave_them(tmp_path: Path, form: str, old: bool) -> None:
    """Each form of a checkpoint gives the network its weights, in the files of PyTorch of today and before 1.6."""
    model, other, path = trained(), tiny.build(), tmp_path / "net.ckpt"
    torch.save(FORMS[form](model.state_dict()), path, _use_new_zipfile_serialization=not old)
    load_weights(other, path)
    tolerance = 1e-3 if form == "half" else 0.0
    for name, item in model.state_dict().items():
        assert torch.allclose(item, other.state_dict()[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("how", ["trace", "script"])
def test_a_scripted_module_gives_its_weights(tmp_path: Path, how: str) -> None:
    """Names and values are those of the module; the code in the archive is not looked at."""
    model, other, path = trained().eval(), tiny.build(), tmp_path / "net.pt"
    made = torch.jit.trace(model, torch.rand(1, 3, 16, 16)) if how == "trace" else torch.jit.script(model)
    made.save(str(path))
    assert read_file(path).keys() == model.state_dict().keys()
    load_weights(other, path)
    assert all(torch.equal(item, other.state_dict()[name]) for name, item in model.state_dict().items())


class Harmful:
    """An object whose reading would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch was-run",))


@pytest.mark.parametrize("old", [False, True])
def test_a_pickled_object_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    """A whole module, or anything else that would run, is named with its class and with how to save weights."""
    monkeypatch.chdir(tmp_path)
    for value, name in ((torch.nn.Conv2d(1, 1, 1), "torch.nn.modules.conv.Conv2d"), (Harmful(), "posix.system")):
        torch.save(value, tmp_path / "net.pt", _use_new_zipfile_serialization=not old)
        expected = rf"net.pt must be tensors by name, they hold a Python object \({name}\).*model.state_dict\(\)"
        with pytest.raises(WeightsError, match=expected):
            load_weights(tiny.build(), tmp_path / "net.pt")
    assert not (tmp_path / "was-run").exists()


def test_which_of_several_weights_is_asked(tmp_path: Path) -> None:
    """Two different sets that fit are refused by name until one is chosen; what is not there is refused too."""
    model, path = trained(), tmp_path / "net.pt"
    average = {name: item + 1 for name, item in model.state_dict().items()}
    torch.save({"state_dict": model.state_dict(), "ema": average, "step": torch.tensor(1)}, path)
    with pytest.raises(
        WeightsError, match="several weights that fit: choose one of state_dict, ema with --weights-key"
    ):
        load_weights(tiny.build(), path)
    for key, wanted in (("state_dict", model.state_dict()), ("ema", average)):
        other = tiny.build()
        load_weights(other, path, key)
        assert all(torch.equal(item, other.state_dict()[name]) for name, item in wanted.items())
    with pytest.raises(WeightsError, match=r"must name an entry with tensors of .*, such as '\.', 'state_dict', 'ema'"):
        load_weights(tiny.build(), path, "teacher")


def test_how_weights_were_found_is_said(tmp_path: Path) -> None:
    """What was taken off and left out is told; of a plain file there is nothing to tell."""
    model, path = trained(), tmp_path / "net.pt"
    torch.save(model.state_dict(), path)
    assert load_weights(tiny.build(), path) == ""
    torch.save(FORMS["Lightning"](model.state_dict()), path)
    said = load_weights(tiny.build(), path)
    assert "'state_dict/model'" in said and "'model.' taken off" in said and "loss.weight" in said


def test_the_nearest_weights_are_held_against_the_network(tmp_path: Path) -> None:
    """Of a wrapped checkpoint that does not fit, what differs is told under the names of the network."""
    state = {**trained().state_dict(), "head.bias": torch.zeros(5)}
    torch.save({"state_dict": under("model", state), "epoch": 1}, tmp_path / "net.pt")
    expected = r"\(those of 'state_dict', the nearest\) must fit the model, they do not: 1 of another shape: head.bias"
    with pytest.raises(WeightsError, match=expected):
        load_weights(tiny.build(), tmp_path / "net.pt")
