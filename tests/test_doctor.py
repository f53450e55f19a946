"""`autoopt doctor`: every check says what it found, and what stops a search is told apart from what is only told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from autoopt import doctor
from autoopt.core.process import Child
from autoopt.core.store import Store
from autoopt.doctor import Check, checks
from autoopt.measure.host import current_host
from autoopt.measure.target import LocalTarget
from autoopt.study.request import default_storage

NAMES = (
    "versions",
    "runtime openvino",
    "runtime onnxruntime",
    "runtime torch",
    "CPU",
    "CPU f32",
    "CPU bf16",
    "CPU f16",
    "CPU int8",
    "cores",
    "memory",
    "noise",
    "home folder",
    "disk",
    "store",
    "study storage",
    "tracking",
    "lock folder",
)


class NoProbes(list[str]):
    """Instead of `doctor.ask`: no child is asked anything, all is well; what would have been asked, in order."""

    def __call__(self, child: Child, probe: str, request: Mapping[str, str], timeout_s: float) -> None:
        self.append(probe)


def by_name(found: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in found}


def test_a_fresh_folder_passes_and_stays_as_it_was(tmp_path: Path) -> None:
    """On a host where all is installed nothing fails, the runtimes really load, and nothing is written."""
    found = checks(tmp_path / "mlruns")

    assert [check.name for check in found] == list(NAMES)
    assert [check for check in found if check.ok is False] == []
    assert all(by_name(found)[name].ok for name in NAMES[:4])
    assert list(tmp_path.iterdir()) == []


def test_it_loads_no_heavy_library_itself(tmp_path: Path) -> None:
    """The checks run in a process that never imports torch, OpenVINO, Optuna or MLflow."""
    code = (
        "import sys; from pathlib import Path; from autoopt import doctor;"
        f"doctor.checks(Path({str(tmp_path)!r}), ask=lambda *arguments: None);"
        "print([name for name in ('torch', 'openvino', 'onnxruntime', 'optuna', 'mlflow') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)

    assert done.stdout.strip() == "[]"


def test_servers_that_do_not_answer_are_named_without_their_password() -> None:
    """An unreachable study storage and tracking server fail their checks soon, each with its URL and no secret."""
    with socket.socket() as taken, Child("autoopt.doctor", environment=doctor.server_environment()) as child:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: whoever connects is refused
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        found = [
            doctor.server_check("study storage", f"postgresql://user:secret@{place}/db", child),
            doctor.server_check("tracking", f"http://user:secret@{place}", child),
        ]

    for check in found:
        assert check.ok is False
        assert place in check.detail
        assert "secret" not in check.detail


def test_a_storage_that_exists_is_opened(tmp_path: Path) -> None:
    """A SQLite study storage that is there is opened; a file that is none fails the check."""
    url = default_storage(tmp_path)
    with Child("autoopt.doctor") as child:
        assert doctor.server_check("study storage", url, child).ok is None
        optuna.storages.RDBStorage(url)
        assert doctor.server_check("study storage", url, child).ok is True
        (tmp_path / "study.db").write_bytes(b"this is not a database, however long it is" * 40)
        assert doctor.server_check("study storage", url, child).ok is False


def test_a_home_that_is_a_file_fails(tmp_path: Path) -> None:
    """A home folder that cannot be one is said to be so, with what to do."""
    home = tmp_path / "mlruns"
    home.write_text("")
    found = by_name(checks(home / "below", ask=NoProbes()))

    assert found["home folder"].ok is False
    assert "--home" in found["home folder"].detail


def test_an_altered_artifact_is_found(tmp_path: Path) -> None:
    """The store check verifies every file and names the one that was changed."""
    store = Store(tmp_path / "store")

    def build(folder: Path) -> dict[str, object]:
        (folder / "model.bin").write_bytes(b"weights")
        return {}

    artifact = store.put("export", "a" * 64, {}, build)
    assert by_name(checks(tmp_path, ask=NoProbes()))["store"].ok is True

    (artifact.path / "model.bin").write_bytes(b"Weights")
    failed = by_name(checks(tmp_path, ask=NoProbes()))["store"]
    assert failed.ok is False
    assert "model.bin" in failed.detail


def test_a_missing_runtime_is_named(tmp_path: Path) -> None:
    """A runtime that is not installed fails its check with the command that installs it, and is not loaded."""
    asked = NoProbes()

    def installed(name: str) -> str | None:
        return None if name == "openvino" else doctor.version_of(name)

    found = by_name(checks(tmp_path, ask=asked, version_of=installed))

    assert found["runtime openvino"].ok is False
    assert "pip install 'autoopt[openvino]'" in found["runtime openvino"].detail
    assert found["versions"].ok is False
    assert asked.count("import") == 2


def test_an_installation_that_only_predicts_is_well_with_one_runtime(tmp_path: Path) -> None:
    """Without the packages of a search one runtime is enough, no server is asked, and the extra is named."""

    for there, verdict in (({"numpy": "2.0", "openvino": "1.0"}, None), ({"numpy": "2.0"}, False)):
        asked = NoProbes()
        found = by_name(checks(tmp_path, ask=asked, version_of=there.get))
        assert found["versions"].ok is None and "pip install 'autoopt[search]'" in found["versions"].detail
        assert found["runtime onnxruntime"].ok is verdict
        assert set(asked) <= {"import"} and not {"study storage", "tracking"} & set(found)


@pytest.mark.parametrize(
    ("arch", "isa", "real"),
    [
        ("x86_64", ("avx2",), {"bf16": None, "f16": None, "int8": None}),
        ("x86_64", ("avx2", "avx512_vnni", "avx512_bf16", "amx_int8"), {"bf16": True, "f16": None, "int8": True}),
        ("aarch64", ("asimd", "asimdhp", "asimddp", "bf16"), {"bf16": True, "f16": True, "int8": True}),
    ],
)
def test_what_the_cpu_can_do_follows_from_its_instructions(
    arch: str,
    isa: tuple[str, ...],
    real: dict[str, bool | None],
    tmp_path: Path,
) -> None:
    """Each precision is marked as real where the host has instructions for it, on x86-64 and on arm64."""
    host = replace(current_host(), arch=arch, isa=isa)
    found = by_name(checks(tmp_path, target=LocalTarget(host), ask=NoProbes()))

    assert {name: found[f"CPU {name}"].ok for name in real} == real
