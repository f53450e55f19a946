"""The commands' manners: bad input is one clear message, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import csv
import shutil
import socket
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import autoopt
from autoopt import cli
from tests import tiny

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line, in this process: exit code, standard output, standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["autoopt", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), out, err

    return call


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """A small data folder of the histo workload: eight tiles of eight patients, valid."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["name", "case", "split"])
        for index in range(8):
            split = ("train", "train", "train", "train", "val", "val", "test", "test")[index]
            writer.writerow([f"t{index}", f"p{index}", split])
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / "images" / f"t{index}.png")
            Image.fromarray(rng.integers(0, 2, (32, 32), dtype=np.uint8) * 255).save(folder / "masks" / f"t{index}.png")
    return folder


def test_a_file_that_could_not_be_written_is_said_before_the_work(run: Run, tmp_path: Path) -> None:
    """Rankings and matrices take minutes: a folder that is not there is found out first, and nothing is made."""
    home = tmp_path / "home"
    for command, option in (("sensitivity", "--csv"), ("sensitivity", "--png"), ("matrix", "--markdown")):
        code, out, err = run(command, option, str(tmp_path / "none" / "file"), "--home", str(home))
        assert (code, out) == (2, "") and f"{option} must be a file in a folder that is there" in err
    assert not home.exists()


def refused(run: Run, *arguments: str, home: Path) -> str:
    """The message of a command that must refuse its input, with nothing written but perhaps an empty home."""
    code, out, err = run(*arguments, "--home", str(home))

    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert not (home / "study.db").exists()
    assert not (home / "mlflow.db").exists()
    return err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--workload", "hysto"], "no workload is called 'hysto'"),
        (["--workload", "nowhere.py:fn"], "nowhere.py does not exist"),
        (["--workload", "json:nothing"], "no function 'nothing'"),
        (["--budget", "0"], "--budget must be a whole number of at least 1, got 0"),
        (["--budget", "-3"], "got -3"),
        (["--objectives", "latency,speed"], "--objectives must be two to four different ones of latency, quality"),
        (["--objectives", "latency"], "--objectives must be two to four"),
        (["--max-drop", "2"], "--max-drop must be a fraction"),
        (["--max-drop", "104%"], "from 0% to 100% such as 4%, got 104%"),
        (["--max-latency", "20"], "--max-latency must be a number with a unit"),
        (["--max-memory", "500"], "--max-memory must be a number with a unit of B, kB, MB"),
        (["--max-size", "0MB"], "--max-size must be more than nothing"),
        (["--guard", "label:liver=0.1"], "--guard label:NAME must name a label"),
        (
            ["--guard", "worst=0.1"],
            "--guard must be one of worst_decile, disagreement, subgroup:COLUMN, label:NAME, got 'worst'",
        ),
        (["--guard", "worst_decile"], "--guard must be NAME=FRACTION"),
        (["--guard", "worst_decile=3"], "--guard worst_decile must be a fraction from 0 to 1, got 3"),
        (["--guard", "subgroup:scanner=0.1"], "must name a column of the cases"),
        (["--time", "soon"], "--time must be a number with a unit"),
        (["--data", "/nowhere/at/all"], "--data must be a folder, /nowhere/at/all is not there"),
        (["--weights", "/nowhere/w.safetensors"], "--weights must be a file"),
        (["--space", "no-such-space"], "no-such-space"),
        (["--sampler", "tpe2"], "--sampler must be one of model, tpe, tpe-multivariate, tpe-group, nsga2, random, got"),
        (["--option", "net"], "--option must be NAME=VALUE, got 'net'"),
        (["--task", "segmentation"], "--task and --trust-bundle describe --model"),
        (["--quiet", "--json"], "--quiet and --json exclude each other"),
    ],
)
def test_wrong_arguments_are_named(run: Run, tmp_path: Path, arguments: list[str], words: str) -> None:
    """Each wrong argument is named with what must hold and what came."""
    base = ["--workload", tiny.SOURCE] if "--workload" not in arguments else []

    assert words in refused(run, "search", *base, *arguments, home=tmp_path / "home")


def test_all_wrong_arguments_come_at_once(run: Run, tmp_path: Path) -> None:
    """Five wrong arguments make five lines, not five attempts; some cannot be read, some make no sense."""
    wrong = ("--budget", "0", "--seed", "-1", "--max-drop", "7", "--time", "soon", "--guard", "worst_decile")
    err = refused(run, "search", *wrong, home=tmp_path / "home")

    assert len(err.splitlines()) == 5
    assert all(option in err for option in wrong[::2])


def test_a_plan_refuses_what_a_search_refuses(run: Run, tmp_path: Path) -> None:
    """`autoopt plan` checks the whole line of a search, also what changes nothing about the estimate."""
    err = refused(run, "plan", "--time", "soon", "--max-drop", "7", "--guard", "worst=1", home=tmp_path / "home")

    assert len(err.splitlines()) == 3


def test_an_unknown_space_key_is_named_with_its_path(run: Run, tmp_path: Path) -> None:
    """A misspelt key and a wrong value in a space file are both reported, each with its path."""
    space = tmp_path / "space.yaml"
    space.write_text("quantize:\n  presett: mixed\nruntime:\n  name: openvino\n  threads: -1\n")
    weights = tiny.weights(tmp_path / "w.safetensors")
    err = refused(
        run,
        "search",
        "--workload",
        tiny.SOURCE,
        "--weights",
        str(weights),
        "--space",
        str(space),
        home=tmp_path / "home",
    )

    assert "quantize.presett" in err
    assert "runtime.threads" in err


def test_an_old_space_key_says_its_new_name(run: Run, tmp_path: Path) -> None:
    """A space file with the old name of a section ends with code 2 and one line that has the new one."""
    space, weights = tmp_path / "space.yaml", tiny.weights(tmp_path / "w.safetensors")
    space.write_text("coarsen:\n  factor: 2\nruntime:\n  name: openvino\n")
    given = ("--workload", tiny.SOURCE, "--weights", str(weights), "--space", str(space))
    err = refused(run, "search", *given, home=tmp_path / "home")

    assert "coarsen: is called resolution now: rename it" in err
    assert len(err.splitlines()) == 1


def _no_mask(folder: Path) -> None:
    (folder / "masks" / "t1.png").unlink()


def _no_image(folder: Path) -> None:
    (folder / "images" / "t2.png").unlink()


def _wrong_size(folder: Path) -> None:
    Image.new("L", (16, 16)).save(folder / "masks" / "t3.png")


def _wrong_column(folder: Path) -> None:
    path = folder / "manifest.csv"
    path.write_text(path.read_text().replace("name,case,split", "name,person,split"))


def _corrupt(folder: Path) -> None:
    path = folder / "images" / "t4.png"
    path.write_bytes(path.read_bytes()[:60])


def _empty(folder: Path) -> None:
    shutil.rmtree(folder / "images")
    shutil.rmtree(folder / "masks")
    (folder / "manifest.csv").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_no_mask, "t1"),
        (_no_image, "t2"),
        (_wrong_size, "t3"),
        (_wrong_column, "case"),
        (_corrupt, "t4"),
        (_empty, "images"),
    ],
)
def test_bad_data_is_named(run: Run, tmp_path: Path, tiles: Path, damage: Callable[[Path], None], words: str) -> None:
    """A missing mask or image, another size, a wrong column, a corrupt picture, an empty folder: the file is named."""
    damage(tiles)

    assert words in refused(run, "search", "--workload", "histo", "--data", str(tiles), home=tmp_path / "home")


def test_data_without_a_trained_baseline_says_how_to_train_one(run: Run, tmp_path: Path, tiles: Path) -> None:
    """Good data nobody has trained on is refused with the command that trains."""
    err = refused(run, "search", "--workload", "histo", "--data", str(tiles), home=tmp_path / "home")

    assert f"autoopt train --workload histo --data {tiles}" in err


def test_weights_that_do_not_fit_are_refused(run: Run, tmp_path: Path) -> None:
    """Weights of another net are refused, naming a tensor that differs, before any trial is stored."""
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"stem.weight": torch.zeros(4, 3, 5, 5)}, path)
    code, _, err = run(
        "search",
        "--workload",
        tiny.SOURCE,
        "--weights",
        str(path),
        "--space",
        "quick",
        "--home",
        str(tmp_path / "home"),
    )

    assert code == 2
    assert "stem.weight" in err
    assert "Traceback" not in err


def test_a_disk_without_room_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With too little room the command says how much is needed and starts nothing."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))

    assert "must be free on the disk" in refused(run, "search", "--workload", tiny.SOURCE, home=tmp_path / "home")


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "--workload", tiny.SOURCE),
        ("sensitivity", "--workload", tiny.SOURCE),
        ("train", "--workload", tiny.SOURCE, "--demo"),
        ("matrix", "--quick"),
    ],
    ids=lambda words: words[0],
)
def test_a_home_that_cannot_be_written_is_refused(run: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A home that is a file is named, by every command that would write there."""
    home = tmp_path / "home"
    home.write_text("not a folder")

    assert "must be a folder this user can write to" in refused(run, *arguments, home=home)


@pytest.mark.parametrize("option", ["--storage", "--tracking-uri"])
def test_a_server_that_is_not_there_is_refused(run: Run, tmp_path: Path, option: str) -> None:
    """A storage or tracking server that does not answer is named, before any trial runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"postgresql://me@127.0.0.1:{port}/db" if option == "--storage" else f"http://127.0.0.1:{port}"
    weights = tiny.weights(tmp_path / "w.safetensors")
    code, _, err = run(
        "search",
        "--workload",
        tiny.SOURCE,
        "--weights",
        str(weights),
        "--space",
        "quick",
        option,
        uri,
        "--home",
        str(tmp_path / "home"),
    )

    assert code == 2
    assert str(port) in err
    assert "Traceback" not in err


def test_front_without_a_study_says_what_to_do(run: Run, tmp_path: Path) -> None:
    """`autoopt front` in an empty folder asks for a search first."""
    code, _, err = run("front", "--home", str(tmp_path))

    assert code == 2
    assert "run autoopt search first" in err


def test_lists_of_workloads_and_spaces(run: Run) -> None:
    """The built-in workloads and the shipped spaces are listed with a sentence each."""
    assert "histo" in run("workloads")[1]
    assert "default" in run("spaces")[1]


def test_the_module_is_the_command() -> None:
    """`python -m autoopt` does what `autoopt` does."""
    done = subprocess.run([sys.executable, "-m", "autoopt", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == autoopt.__version__


def test_the_settings_of_a_space_are_listed(run: Run) -> None:
    """`spaces --settings` has every setting with its default, what it takes and what it means."""
    listed = run("spaces", "--settings")[1]

    assert "| `prune.multiple` | 1 | one of 1, 4, 8, 16, 32 | what is left of a layer is a multiple of this" in listed
