"""The child process that measures: light, and honest about its memory."""

from __future__ import annotations

import numpy as np

from autoopt.measure.worker import peak_rss_bytes


def test_the_worker_imports_only_what_it_needs() -> None:
    """The worker module pulls in no library but numpy."""
    import subprocess
    import sys

    code = (
        "import sys, autoopt.measure.worker; "
        "print([m for m in ('torch', 'openvino', 'onnxruntime', 'nncf', 'optuna', 'mlflow', 'yaml', 'typer', "
        "'autoopt.workload', 'autoopt.core.store') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_peak_memory_sees_what_was_released() -> None:
    """The peak counts memory that was given back since."""
    block = np.ones(8 << 20)
    del block
    assert peak_rss_bytes() >= 8 << 23
