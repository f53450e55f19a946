"""A server is compared with what a bundle holds of its own answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from autoopt.cli import app
from autoopt.deploy.check_server import check_server
from autoopt.deploy.predictor import load
from autoopt.deploy.served import served
from autoopt.errors import UsageError
from tests.deploy.bundles import with_self_test
from tests.deploy.test_server import serving


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the fake model with its self-test."""
    return with_self_test(tmp_path_factory.mktemp("made"))


def test_a_server_of_the_same_network_passes(made: Path) -> None:
    """The golden answers at the server are those of the bundle, each in words, and nothing runs here."""
    with load(made, stand_ins=True) as predictor, serving(predictor) as server:
        result = check_server(made, f"http://127.0.0.1:{server.port}", stand_ins=True)
    assert result.passed, result.findings
    assert [item.about for item in result.findings] == ["files", "server", *["answers"] * 4]


def test_a_server_of_another_network_does_not_pass(made: Path) -> None:
    """What the server answers otherwise, and a model that it does not have, are differences that matter."""
    with load(made, stand_ins=True) as predictor:
        models = served(predictor)
        network = models["tiny-graph"]

        def other(array: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
            return network.answer(array, parameters)[:, ::-1].copy() + np.float32(1)

        changed = {**models, "tiny-graph": replace(network, answer=other)}
        with serving(changed) as server:
            url = f"http://127.0.0.1:{server.port}"
            result = check_server(made, url, stand_ins=True)
            missing = check_server(made, url, model="mine", stand_ins=True)
    assert not result.passed
    assert any(item.about == "answers" and "not as it was" in item.text for item in result.findings if item.matters)
    assert not missing.passed and "there is no such model" in missing.findings[-1].text
    with pytest.raises(UsageError, match="a server must be"):
        check_server(made, "no address", stand_ins=True)


def test_options_that_need_each_other(made: Path) -> None:
    """A name without a server, and a gate with one, are refused before anything is read."""
    for options in (["--model", "m"], ["--server", "http://127.0.0.1:1", "--gate", "1.1"]):
        done = CliRunner().invoke(app, ["check", str(made), *options])
        assert isinstance(done.exception, UsageError) and "--server" in str(done.exception)
