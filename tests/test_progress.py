"""What the commands show while they work."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt import progress
from autoopt.compress.matrix import REFUSED, WORKS, Cell
from autoopt.deploy.predict_files import Event
from autoopt.nets.baseline import TrainProgress
from autoopt.study import limits
from autoopt.study.attempts import Attempt
from autoopt.study.loop import Progress
from tests.report.page.planted import planted_study
from tests.worlds import World, space_of, study_of

CELLS = (
    Cell("A", "CNN", "INT8", "openvino", WORKS, "", 1.75, 31.0),
    Cell("A", "CNN", "[red]", "torch", REFUSED, "it cannot"),
)
EPOCHS = (
    TrainProgress(1, 3, 0.5, 1.0, "dice_macro"),
    TrainProgress(1, 3, 0.4, 2.0, "dice_macro"),
    TrainProgress(2, 3, 0.25, 3.0, "dice_macro", 0.75, 0.8),
)


def watched(bar: progress.MatrixBar | progress.TrainBar, events: tuple[Cell, ...] | tuple[TrainProgress, ...]) -> None:
    with bar:
        for event in events:
            bar(event)  # type: ignore[arg-type]


def test_a_correction_of_all_latencies_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When the level of the reference moves, one line says by how much the latencies above it are other ones now."""
    study = study_of(space_of(tmp_path))
    world = World(slower=lambda place: 1.75 if place < 3 else 1.0)
    bar = progress.SearchBar()
    with bar:
        for _ in range(6):
            proposal = next(study.proposals(6))
            record = study.tell(proposal, world.run(proposal, study.result))
            bar(Progress("store", 6, study.result, record))
    lines = capsys.readouterr().err.splitlines()
    corrections = [line for line in lines if not line[0].isdigit()]
    assert len(corrections) == 1 and corrections[0].startswith(
        "the reference takes 99.90 ms when the host is left alone"
    )
    assert corrections[0].endswith("all latencies above are 0.57 of what they say")
    final = study.result.by_number(study.records[-1].number)
    assert final is not None and f"{final.measured.latency_p25_s * 1e3:.2f} ms" in lines[-1]


def test_a_trial_beyond_a_limit_says_the_limit_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """The line of a trial that may not be deployed names the limit as the tables do."""
    study = planted_study(12)
    beyond = next(record for record in study.judged if record.violated)
    with progress.SearchBar() as bar:
        bar(Progress("store", 12, study, beyond))

    assert f", breaks {limits.in_words({name: study.card.limits[name] for name in beyond.violated})};" in (
        " ".join(capsys.readouterr().err.split())
    )


def test_a_search_says_what_it_does_to_which_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stage, trial, time so far and time left stand in two lines that fit the terminal; without one, a line a trial."""
    study, world = study_of(space_of(tmp_path)), World()
    proposal = next(study.proposals(6))
    during = Progress("measure", 6, study.result, None, 185.0, Attempt(proposal))
    assert progress.doing(during) == "trial 1 of 6: measuring FP32, latency ms 10, 2 threads on fake"
    again = replace(during, attempt=Attempt(proposal, tries=2, number=4))
    assert progress.doing(again).startswith("trial #4 again, try 2: measuring")
    assert progress.doing(replace(during, stage="confirm", attempt=None)) == "scoring the front on test"
    record = study.tell(proposal, world.run(proposal, study.result))
    for compatible in ("0", "1"):
        monkeypatch.setenv("TTY_COMPATIBLE", compatible)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "60")
        monkeypatch.delenv("CI", raising=False)
        with progress.SearchBar() as bar:
            bar(during)
            bar(Progress("store", 6, study.result, record, 185.0))
        shown = capsys.readouterr().err
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown).replace("\r", "\n")
        if compatible == "0":
            [line] = shown.splitlines()
            assert line.startswith("1/6 #0 ") and line.endswith("front 1 (3 min 05 s left)")
        else:
            assert re.search(r"measuring FP32, latency ms 10,.*\(0\.\d s\)", plain) and "3 min 05 s left" in plain
            assert max(map(len, plain.splitlines())) <= 60 + len(" left")


def test_without_a_terminal_there_is_a_line_for_each_cell_and_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    """A log has what was done, once, as plain text, on standard error: names in brackets are no markup."""
    watched(progress.MatrixBar(2), CELLS)
    watched(progress.TrainBar(), EPOCHS)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "A, INT8, openvino: works 1.75x",
        "A, [red], torch: refused",
        "epoch 1/3 loss 0.5000",
        "epoch 2/3 loss 0.2500, val dice_macro 0.7500 (best 0.8000)",
    ]


def test_predicted_images_are_lines_and_failures_say_why(capsys: pytest.CaptureFixture[str]) -> None:
    """A log has each image that was predicted, and the reason of each one that was not; no markup in names."""
    with progress.PredictBar() as bar:
        bar(Event("[a].png", 1, 2))
        bar(Event("b.png", 2, 2, "b.png: it is broken"))
    assert capsys.readouterr().err.splitlines() == ["1/2 [a].png", "failed: b.png: it is broken"]


def test_on_a_terminal_a_bar_counts_and_says_what_came_last(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bar shows how many of how many are done, the newest cell, and the loss and score of a training."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("CI", raising=False)
    watched(progress.MatrixBar(2), CELLS)
    matrix = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "2/2" in matrix and "A, [red], torch: refused" in matrix
    watched(progress.TrainBar(), EPOCHS)
    training = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "2/3" in training and "loss 0.2500, val dice_macro 0.7500 (best 0.8000)" in training
