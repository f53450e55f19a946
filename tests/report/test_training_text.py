"""A training study as a table, CSV and JSON, from rows that are planted; what its command refuses."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import pytest
from typer.testing import CliRunner

from autoopt import cli
from autoopt.compress.training_study import FAILED, SKIPPED, Row, TrainingStudy
from autoopt.errors import UsageError
from autoopt.report.training_text import as_csv, as_json, as_markdown, lines_of, notes, row_text
from tests.worlds import HOST


def row(arm: str, seed: int, seconds: float, megabytes: float, quality: float, **changes: Any) -> Row:
    trained = {
        "steps": 11,
        "train_s": seconds,
        "setup_s": 1.0,
        "added_bytes": megabytes * 1e6,
        "peak_bytes": 2e9,
        "state_bytes": 1e6,
        "joules": changes.pop("joules", None),
        "scores": {"accuracy": quality, "ece": 0.5},
        **({"co2_g": changes.pop("co2_g")} if "co2_g" in changes else {}),
    }
    int8 = changes.pop("int8", {"scores": {"accuracy": quality - 0.1}, "seconds": 0.5, "float_seconds": 1.0})
    return Row("net=a", {"net": "a"}, arm, seed, "accuracy", trained=trained, int8=int8, **changes)


def study(rows: Sequence[Row], **changes: Any) -> TrainingStudy:
    return TrainingStudy("a study", "accuracy", changes.pop("less", False), rows, HOST, 2, **changes)


ROWS = [
    row("fp32", 1, 10.0, 100, 0.80),
    row("fp32", 2, 14.0, 100, 0.90),
    row("bf16", 1, 6.0, 100, 0.86),
    row("half", 1, 6.0, 60, 0.70),
    Row("net=a", {"net": "a"}, "adam8", 1, "accuracy", SKIPPED, "no kernel"),
    Row("net=a", {"net": "a"}, "adam8", 2, "accuracy", SKIPPED, "no kernel"),
]


def test_mean_and_spread_and_front() -> None:
    """A line has mean and standard deviation over its seeds, and is on the front where no other is better by means."""
    lines = {line.arm: line for line in lines_of(study(ROWS))}
    assert lines["fp32"].numbers["train_s"] == (12.0, pytest.approx(2.8284, abs=1e-3))
    assert lines["fp32"].numbers["quality"] == (pytest.approx(0.85), pytest.approx(0.0707, abs=1e-3))
    assert lines["bf16"].numbers["step_ms"] == (600.0, None) and lines["bf16"].numbers["int8_speed_up"] == (2.0, None)
    assert {arm: line.on_front for arm, line in lines.items()} == {
        "fp32": False,  # slower than BF16, no better
        "bf16": True,
        "half": True,  # least memory
        "adam8": False,
    }
    assert lines["adam8"].seeds == () and lines["adam8"].reasons == ("skipped: no kernel",)


def test_less_may_be_better() -> None:
    """With an error as the metric the smaller one is on the front."""
    rows = [row("fp32", 1, 5.0, 50, 0.9), row("bf16", 1, 5.0, 50, 0.2)]
    assert [line.arm for line in lines_of(study(rows, less=True)) if line.on_front] == ["bf16"]
    assert [line.arm for line in lines_of(study(rows)) if line.on_front] == ["fp32"]


def test_the_table() -> None:
    """Reasons are numbered below, a spread stands behind a mean, and what no row has is no column."""
    text = as_markdown(study(ROWS))
    assert "| net=a | FP32 | 2 | 12.0 ± 2.8 |" in text and "0.8500 ± 0.0707" in text
    assert "| net=a | 8-bit optimiser | 0 (1) | - |" in text and text.endswith("(1) skipped: no kernel\n")
    assert "energy" not in text and "CO2" not in text
    assert any("No energy: no counter." in note for note in notes(study(ROWS, why_no_energy="no counter")))


def test_energy_is_an_objective_only_where_all_have_it() -> None:
    """Joules put a line on the front that is worse in all else; where one line has none they are shown, and no more."""
    rows = [row("fp32", 1, 9.0, 90, 0.8, joules=10.0, co2_g=0.1), row("bf16", 1, 5.0, 50, 0.9, joules=20.0, co2_g=0.2)]
    both = study(rows)
    assert all(line.on_front for line in lines_of(both))
    assert "energy J" in as_markdown(both) and "CO2 g (estimate)" in as_markdown(both)
    assert any("CO2 is an estimate" in note for note in notes(both))
    third = study([*rows, row("half", 1, 4.0, 40, 0.95)])
    assert [line.arm for line in lines_of(third) if line.on_front] == ["half"]


def test_csv_and_json() -> None:
    """Each row is one line with its status and reason; JSON has the rows and the lines."""
    no_int8 = row("half", 3, 1.0, 1, 0.5, int8={"reason": "refused"})
    failed = Row("net=a", {"net": "a"}, "bf16", 1, "accuracy", FAILED, "it crashed")
    found = list(csv.DictReader(io.StringIO(as_csv(study([ROWS[0], no_int8, failed])))))
    assert [item["status"] for item in found] == ["complete", "complete", "failed"]
    assert [item["reason"] for item in found] == ["", "refused", "it crashed"]
    assert float(found[0]["train_s"]) == 10.0 and found[0]["joules"] == "" and found[2]["quality"] == ""
    plain = as_json(study([ROWS[0], failed]))
    assert plain["rows"][0]["options"] == {"net": "a"} and plain["lines"][0]["numbers"]["train_s"] == [10.0, None]
    assert row_text(failed) == "net=a, BF16 autocast, seed 1: failed: it crashed"
    assert "accuracy 0.8000" in row_text(ROWS[0]) and "no INT8: refused" in row_text(no_int8)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"demo": True, "arms": "fp32,fp8"},
            "--arms must be some of fp32, bf16, adam8, bf16-adam8, half, half-adam8, got fp8",
        ),
        ({"demo": True, "seeds": "1,x"}, "--seeds must be values separated by commas, got '1,x'"),
        ({"demo": True, "seeds": ","}, "--seeds must be whole numbers"),
        ({"demo": True, "steps": 1}, "--steps must be at least 2"),
        ({"demo": True, "vary": ["net"]}, "--vary must be an option with its values"),
        ({"demo": True, "vary": ["net=a,b"]}, "net is in both"),
        ({}, "needs"),
    ],
)
def test_what_the_command_refuses(words: dict[str, Any], message: str) -> None:
    """Bad input is one sentence, before anything is read."""
    given = ["training-study", "--workload", "dfu", "--option", "net=vit"]
    for name, value in words.items():
        for item in value if isinstance(value, list) else [value]:
            given += [f"--{name}"] if item is True else [f"--{name}", str(item)]
    error = CliRunner().invoke(cli.app, given).exception
    assert isinstance(error, UsageError) and message in str(error)
