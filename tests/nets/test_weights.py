"""Weights on disk."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from autoopt.errors import WeightsError
from autoopt.nets.weights import (
    HEADER_KEY,
    INTERRUPTED,
    WeightsInfo,
    find_weights,
    load_weights,
    read_info,
    remark_on,
    round_to_half,
    save_weights,
    weights_digest,
)
from tests import tiny

if TYPE_CHECKING:
    import torch

INFO = WeightsInfo("tiny", tiny.workload().data_digest, {"epochs": 2}, val={"dice_macro": 0.5})


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether two models hold equal weights."""
    import torch

    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_round_trip(tmp_path: Path) -> None:
    """What was saved is loaded again, and the header says whose it is."""
    model, other = tiny.build(), tiny.build()

    path = save_weights(model, tmp_path, INFO)
    load_weights(other, path)

    assert same(model, other)
    assert read_info(path) == INFO
    assert path.name == f"tiny-{weights_digest(path)[:12]}.safetensors"


@pytest.mark.parametrize("change", [{"recipe": None}, {"recipe": [1]}, {"val": None}, {"workload": 1}])
def test_a_header_with_fields_of_another_kind_is_not_ours(tmp_path: Path, change: dict[str, Any]) -> None:
    """Weights whose header is damaged are passed over, and hinder no search."""
    path = tmp_path / "weights" / "odd.safetensors"
    path.parent.mkdir()
    odd = json.dumps({"schema": 1, **asdict(INFO), **change})
    header = json.dumps({"__metadata__": {HEADER_KEY: odd}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    assert read_info(path) is None and find_weights(tiny.workload(), tmp_path) is None


def test_equal_weights_make_equal_files(tmp_path: Path) -> None:
    """The digest is of the content: writing the same again changes nothing."""
    model = tiny.build()

    assert save_weights(model, tmp_path, INFO) == save_weights(model, tmp_path, INFO)
    assert len(list(tmp_path.iterdir())) == 1


def test_half_precision(tmp_path: Path) -> None:
    """Rounded weights are stored in half the bytes, and come back as float32 with the values that were scored."""
    import torch

    model, other = tiny.build(), tiny.build()
    whole = save_weights(model, tmp_path / "whole", INFO).stat().st_size
    round_to_half(model)

    path = save_weights(model, tmp_path, INFO, half=True)
    load_weights(other, path)

    assert same(model, other)
    assert all(value.dtype != torch.float16 for value in other.state_dict().values())
    assert path.stat().st_size < whole


@pytest.mark.parametrize("wrapped", [False, True])
def test_reads_pytorch_state_dicts(tmp_path: Path, wrapped: bool) -> None:
    """A state dict saved by torch.save, alone or in a checkpoint, fits as well."""
    import torch

    model, other = tiny.build(), tiny.build()
    path = tmp_path / "model.pth"
    torch.save({"state_dict": model.state_dict(), "epoch": 3} if wrapped else model.state_dict(), path)

    load_weights(other, path)

    assert same(model, other)


def test_finds_the_best_for_this_workload_and_data(tmp_path: Path) -> None:
    """The best on val for the same workload and data is taken; of two equal ones, the newest."""
    workload, folder = tiny.workload(), tmp_path / "weights"
    assert find_weights(workload, tmp_path) is None
    save_weights(tiny.build(), folder, INFO)
    older = save_weights(tiny.build(), folder, replace(INFO, val={"dice_macro": 0.8}))
    best = save_weights(tiny.build(), folder, replace(INFO, val={"dice_macro": 0.8}))
    save_weights(tiny.build(), folder, replace(INFO, data_digest="other", val={"dice_macro": 0.9}))
    save_weights(tiny.build(), folder, replace(INFO, workload="other", val={"dice_macro": 0.9}))
    (folder / "junk.safetensors").write_bytes(b"junk")
    os.utime(older, (1, 1))

    assert find_weights(workload, tmp_path) == best
    assert find_weights(replace(workload, weights=tmp_path / "own"), tmp_path) == tmp_path / "own"


def test_weights_of_an_interrupt_come_last(tmp_path: Path) -> None:
    """The best weights of an interrupted training are found where there are no others, however good they are."""
    folder = tmp_path / "weights"
    stopped = replace(INFO, recipe={"steps": 9, "of_steps": 90, INTERRUPTED: True}, val={"dice_macro": 0.9})
    kept = save_weights(tiny.build(), folder, stopped)
    assert find_weights(tiny.workload(), tmp_path) == kept
    finished = save_weights(tiny.build(), folder, INFO)
    assert find_weights(tiny.workload(), tmp_path) == finished


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({}, ""),
        ({"steps": 90, "of_steps": 90}, ""),
        ({"steps": "many", "of_steps": None}, ""),
        ({"steps": 318, "of_steps": 960}, "they were trained for 318 of 960 steps, the time was up"),
        (
            {"steps": 90, "of_steps": 90, INTERRUPTED: True},
            "they are the best of a training that was interrupted after 90 of 90 steps",
        ),
    ],
)
def test_what_was_left_out_is_said(tmp_path: Path, recipe: dict[str, object], said: str) -> None:
    """The header tells how many steps were done, also that of weights from before; other weights tell nothing."""
    path = save_weights(tiny.build(), tmp_path, replace(INFO, recipe=recipe))
    assert remark_on(path) == said
    path.write_bytes(b"of somebody else")
    assert remark_on(path) == ""


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    """What is missing, unexpected and of another shape is said at once, and the model keeps its weights."""
    import torch

    model = tiny.build()
    state = dict(model.state_dict())
    state["extra.weight"] = torch.zeros(1)
    state["head.bias"] = torch.zeros(5)
    del state["stem.weight"]
    torch.save(state, tmp_path / "other.pt")

    expected = (
        r"1 missing: stem.weight; 1 unexpected: extra.weight; 1 of another shape: head.bias \(5,\) instead of \(2,\)"
    )
    with pytest.raises(WeightsError, match=expected):
        load_weights(model, tmp_path / "other.pt")


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pt"])
def test_broken_files_are_refused(tmp_path: Path, name: str) -> None:
    """A file that holds no weights is bad input that is named."""
    (tmp_path / name).write_bytes(b"not weights at all")

    with pytest.raises(WeightsError, match=f"{name} must be a safetensors file or a PyTorch state dict"):
        load_weights(tiny.build(), tmp_path / name)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    """A pickled object other than tensors is refused, not run."""
    import torch

    torch.save({"path": Path("x")}, tmp_path / "evil.pt")

    with pytest.raises(WeightsError, match=r"they hold a Python object \(pathlib"):
        load_weights(tiny.build(), tmp_path / "evil.pt")


def test_finding_needs_no_torch(tmp_path: Path) -> None:
    """The parent process finds weights without importing torch or safetensors."""
    save_weights(tiny.build(), tmp_path / "weights", INFO)
    code = (
        "import sys; from pathlib import Path; from tests import tiny; from autoopt.nets.weights import find_weights\n"
        f"assert find_weights(tiny.workload(), Path({str(tmp_path)!r})) is not None\n"
        "assert not {'torch', 'safetensors'} & set(sys.modules), sorted(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
