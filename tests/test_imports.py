"""Importing costs nothing: the package and the command load no heavy library until they need one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import autoopt
from tests.test_layering import HEAVY


def loaded_by(code: str) -> set[str]:
    """The heavy libraries that a fresh interpreter has loaded after `code`."""
    script = f"import json, sys\n{code}\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name for name in json.loads(done.stdout.splitlines()[-1]) if name in HEAVY}


def test_the_package_is_light() -> None:
    """`import autoopt` loads none of the heavy libraries."""
    assert loaded_by("import autoopt") == set()


def test_help_is_light() -> None:
    """`autoopt --help` loads typer, and what typer prints with, and nothing else that is heavy."""
    code = (
        "from autoopt.cli import main\nsys.argv = ['autoopt', '--help']\ntry:\n    main()\nexcept SystemExit:\n    pass"
    )
    assert loaded_by(code) <= {"typer", "rich"}


@pytest.mark.parametrize(
    ("module", "may_load"),
    [
        ("autoopt.api", set()),
        ("autoopt.study.request", set()),
        ("autoopt.study.prepare", set()),
        ("autoopt.inference.runtimes", set()),
        ("autoopt.measure.worker", set()),
        ("autoopt.study.space", set()),
    ],
)
def test_modules_are_light(module: str, may_load: set[str]) -> None:
    """The parent's and the worker's modules load heavy libraries when they are used, not when they are imported."""
    assert loaded_by(f"import {module}") <= may_load


def test_help_needs_no_numpy() -> None:
    """The options of the command line are known without numpy, which takes longer to load than all of `--help`."""
    script = "import sys, autoopt.cli, autoopt.api\nprint('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_tables_are_light() -> None:
    """All runtimes and steps can be listed with their settings without loading one library."""
    code = (
        "from autoopt.inference.runtimes import RUNTIMES, runtime\nfrom autoopt.compress import STEPS, step\n"
        "[runtime(name).PARAMETERS for name in RUNTIMES], [step(name).PARAMETERS for name in STEPS]"
    )
    assert loaded_by(code) == set()


@pytest.mark.parametrize("name", autoopt.__all__)
def test_public_names_exist(name: str) -> None:
    """Every public name can be had from the root, and has a docstring."""
    value = getattr(autoopt, name)
    assert name == "__version__" or value.__doc__


def test_public_names_are_all() -> None:
    """The root offers what it lists, about ten names, and says so of any other."""
    assert dir(autoopt) == sorted(autoopt.__all__)
    assert len(set(autoopt.__all__)) == len(autoopt.__all__) <= 20
    with pytest.raises(AttributeError, match="module 'autoopt' has no attribute 'nothing'"):
        autoopt.nothing  # noqa: B018
