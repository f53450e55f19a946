"""`autoopt init`: a workload that runs as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

import autoopt
from autoopt.errors import UsageError
from autoopt.testing import main, workload_problems
from autoopt.workloads.loading import load_workload
from autoopt.workloads.template import write_template


def test_the_template_keeps_the_contract_and_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The written file is a workload, learns its blobs within seconds, and says how to check it."""
    path = tmp_path / "my_model.py"
    write_template(path)
    source = f"{path}:workload"
    assert workload_problems(load_workload(source, None, tmp_path)) == []
    trained = autoopt.train(source, demo=True, home=tmp_path / "home")
    assert trained.test.value > 0.8
    assert main([source]) == 0 and "keeps the contract" in capsys.readouterr().out
    path.write_text(path.read_text().replace('"dice_macro", ', '"dice_macaroni", '))
    assert main([source]) == 1 and "dice_macaroni" in capsys.readouterr().out


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A file that is there stays as it is; a name that Python cannot import is refused."""
    path = tmp_path / "mine.py"
    path.write_text("x = 1\n")
    with pytest.raises(UsageError, match="is there already"):
        write_template(path)
    assert path.read_text() == "x = 1\n"
    with pytest.raises(UsageError, match=r"such as my_model\.py"):
        write_template(tmp_path / "my-model.txt")
