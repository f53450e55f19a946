"""How the end-to-end tests run the command: as a user does, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from autoopt.core.process import QUIET
from tests import tiny

SPACE = """
description: the fake runtime, for tests
runtime:
  name: fake
  threads: 1
  latency_ms: [1, 2, 3, 4]
  error: [0.0, 0.004, 0.2]
"""


def project(folder: Path, space: str = SPACE, workload: str = tiny.SOURCE) -> list[str]:
    """Weights and a space in `folder`; the arguments that use them, the home folder included."""
    weights = tiny.weights(folder / "tiny.safetensors")
    path = folder / "space.yaml"
    path.write_text(space)
    return ["--workload", workload, "--weights", str(weights), "--space", str(path), "--home", str(folder / "mlruns")]


def start(*arguments: str, cwd: Path | None = None, quick: bool = False) -> subprocess.Popen[str]:
    """The command, started in a process group of its own; `quick` where the times it measures do not matter."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), root])
    loud = {name: text for name, text in os.environ.items() if name not in QUIET}  # as users have it
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.quick" if quick else "autoopt", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        start_new_session=True,
        env={**loud, "PYTHONPATH": path, "COLUMNS": "200"},
    )


def run(
    *arguments: str, cwd: Path | None = None, quick: bool = False, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    process = start(*arguments, cwd=cwd, quick=quick)
    out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
