"""The base install: what deploys a model runs where nothing of a search can be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import autoopt
from autoopt.core.store import Store
from tests.deploy.bundles import build_onnx, build_openvino, image, write
from tests.test_layering import HEAVY

SLIM = frozenset({"psutil", "rich", "typer", "pydantic"})
"""What the base install has beside numpy, some of it through typer."""
RUNTIMES = frozenset({"openvino", "onnxruntime"})
WITHOUT = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None  # an import of it raises ModuleNotFoundError
sys.argv = ["autoopt", *sys.argv[2:]]
from autoopt.cli import main
main()
"""
BLOCKED = sorted({*(HEAVY - SLIM - RUNTIMES), "einops", "filelock", "sqlalchemy", "fsspec"})


def command(*arguments: str, without: frozenset[str] = RUNTIMES, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process that can import the base install, and of the runtimes those not in `without`."""
    return run_python(WITHOUT, ",".join([*BLOCKED, *sorted(without)]), *arguments, cwd=cwd)


def run_python(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Python text in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(autoopt.__file__).parent.parent)},
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_a_bundle_predicts_in_the_base_install(tmp_path: Path, runtime: str) -> None:
    """`autoopt predict` needs numpy and one runtime: arrays in, arrays out, a bad file named, exit 2."""
    build = {"openvino": build_openvino, "onnxruntime": build_onnx}[runtime]
    artifact = Store(tmp_path / "store").put("model", "key", {}, build)
    write(tmp_path / "deploy", artifact, {"name": runtime, "precision": "f32", "threads": 1})
    np.save(tmp_path / "x.npy", image())
    (tmp_path / "bad.npy").write_bytes(b"no array")
    others = RUNTIMES - {runtime}

    done = command("predict", "deploy", "x.npy", "-o", "out", "--probabilities", without=others, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tiny (demo data): 1 of 1 images predicted" in done.stdout and "1/1 x.npy" in done.stderr
    with np.load(tmp_path / "out" / "x.npz") as found:
        assert np.array_equal(found["labels"], image()[..., 0] > 0)

    done = command("predict", "deploy", "x.npy", "bad.npy", "-o", "out", without=others, cwd=tmp_path)
    assert done.returncode == 2 and "bad.npy must be a whole npy file" in done.stderr
    assert "autoopt: 1 of 2 images failed" in done.stderr and "Traceback" not in done.stderr


def test_a_package_that_is_missing_is_named_with_what_to_type(tmp_path: Path) -> None:
    """Commands of a search name the extra, files that need a reader its package, bundles the extra of their runtime."""
    artifact = Store(tmp_path / "store").put("model", "key", {}, build_openvino)
    write(tmp_path / "deploy", artifact, {"name": "openvino", "precision": "f32", "threads": 1})
    for name in ("x.png", "y.nii.gz"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "IM1").write_bytes(bytes(128) + b"DICM")
    search, some = "pip install 'autoopt[search]'", frozenset({"onnxruntime"})
    cases = (
        (("search", "--workload", "histo"), RUNTIMES, search),
        (("front",), RUNTIMES, search),
        (("pull", "-o", "other"), RUNTIMES, search),
        (("train", "--demo"), RUNTIMES, search),
        (("spaces",), RUNTIMES, search),
        (("predict", "deploy", "x.png", "-o", "out"), some, "pip install pillow"),
        (("predict", "deploy", "y.nii.gz", "-o", "out"), some, "pip install nibabel"),
        (("predict", "deploy", "scan", "-o", "out"), some, "pip install 'autoopt[dicom]'"),
        (("predict", "deploy", "x.png", "-o", "out"), RUNTIMES, "pip install 'autoopt[openvino]'"),
    )
    for arguments, without, words in cases:
        done = command(*arguments, without=without, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), (arguments, done.stderr)
        assert words in done.stderr and "Traceback" not in done.stderr, (arguments, done.stderr)
        assert done.stderr.count("\n") == 1, (arguments, done.stderr)
    assert not (tmp_path / "mlruns").exists() and not (tmp_path / "out").exists()


def test_the_rest_of_the_face_works_in_the_base_install(tmp_path: Path) -> None:
    """Help, version and doctor need no package of a search."""
    for arguments in (("--help",), ("--version",), ("workloads",)):
        done = command(*arguments, cwd=tmp_path)
        assert done.returncode == 0 and done.stderr == "", done.stderr
    done = command("doctor", without=frozenset({"onnxruntime"}), cwd=tmp_path)
    assert "Traceback" not in done.stderr and "runtime openvino" in done.stdout


def test_python_says_the_same(tmp_path: Path) -> None:
    """A public function without its packages raises the sentence, not what it happened to import first."""
    script = (
        "import sys, json\n"
        f"for name in {BLOCKED!r}: sys.modules[name] = None\n"
        "import autoopt\n"
        "said = []\n"
        "for call in (autoopt.search, autoopt.front, lambda: autoopt.pull('x'), autoopt.train):\n"
        "    try: call()\n"
        "    except autoopt.AutooptError as error: said.append(str(error))\n"
        "print(json.dumps(said))"
    )
    done = run_python(script, cwd=tmp_path)
    said = json.loads(done.stdout)
    assert len(said) == 4 and all("pip install 'autoopt[search]'" in text for text in said), done.stderr
