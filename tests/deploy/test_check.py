"""`check` says each difference in words, and tells what matters from what is harmless."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import autoopt
from autoopt.core.store import file_digest
from autoopt.deploy.check import Checked, Finding, check
from autoopt.deploy.predictor import load
from autoopt.errors import UsageError
from autoopt.measure.host_load import Load
from autoopt.measure.target import LocalTarget
from tests.deploy.bundles import QUICK, build_onnx, reseal, with_self_test
from tests.deploy.test_signing import keys
from tests.targets import RecordingTarget
from tests.test_layering import HEAVY


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the fake model with its self-test; nobody may change it."""
    return with_self_test(tmp_path_factory.mktemp("made"))


@pytest.fixture
def ready(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(made, tmp_path / "deploy"))


def checked(bundle: Path, **arguments: Any) -> Checked:
    given: dict[str, Any] = {"timed": False, "plan": QUICK, "stand_ins": True, **arguments}
    return check(bundle, **given)


def found(result: Checked, about: str) -> Finding:
    """The one finding of that kind, or the first that is a difference."""
    items = [item for item in result.findings if item.about == about]
    return next((item for item in items if item.difference), items[0])


def setting(*place: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one value in bundle.json."""

    def change(card: dict[str, Any]) -> None:
        inside: Any = card
        for step in place[:-1]:
            inside = inside[step]
        inside[place[-1]] = value

    return change


def test_an_untouched_bundle_passes(ready: Path) -> None:
    """Where nothing changed every finding is good, and the golden answers are those of the bundle."""
    result = checked(ready)

    assert result.passed and [item for item in result.findings if item.matters] == []
    assert not any(item.difference for item in result.findings if item.about != "latency")
    about = ["files", "signature", "host", "libraries", "precision", *["answers"] * 4, "latency"]
    assert [item.about for item in result.findings] == about
    assert found(result, "signature").text == "it is not signed"
    assert json.loads(json.dumps(result.to_json()))["passed"] is True


def test_an_altered_file_does_not_pass(ready: Path) -> None:
    """A changed byte anywhere is found, named, and nothing is run."""
    (ready / "self_test" / "noise-output.npy").write_bytes(b"other")

    result = checked(ready)
    assert not result.passed
    assert len(result.findings) == 1 and "noise-output.npy was altered" in result.findings[0].text


def test_another_answer_does_not_pass(ready: Path) -> None:
    """A graph that answers otherwise, under right digests, is found by the golden inputs."""
    (ready / "model" / "fake.json").write_text('{"classes": 2, "threshold": 0.05}')
    digest = {"sha256": file_digest(ready / "model/fake.json"), "bytes": (ready / "model/fake.json").stat().st_size}
    reseal(ready, setting("files", "model/fake.json", value=digest))

    result = checked(ready)
    assert not result.passed and found(result, "answers").matters
    assert "for the golden input noise is not as it was: root mean square difference" in found(result, "answers").text


def test_another_precision_does_not_pass(ready: Path) -> None:
    """A graph that ran in bf16 there and does not here is another model, whatever it answers."""
    reseal(ready, setting("self_test", "effective", "precision", value="bf16"))

    result = checked(ready)
    assert not result.passed
    assert found(result, "precision").text == "the graph really runs in 'f32', there it ran in 'bf16'"


def test_a_graph_that_cannot_run_does_not_pass(ready: Path) -> None:
    """A graph whose process dies is a finding, with the reason."""
    reseal(ready, setting("runtime", "failure", value="segfault"))

    result = checked(ready)
    assert not result.passed and "cannot be run on this host" in found(result, "answers").text


def test_harmless_differences_are_remarks(ready: Path) -> None:
    """Another host, another library with equal answers, and other kernels are told, and pass."""
    for change in (
        setting("versions", "numpy", value="1.0"),
        setting("self_test", "effective", "kernels", value="other:1"),
        setting("host", "cpu", value="a faster cpu"),
        setting("host", "isa", value=["avx2", "avx9"]),
    ):
        reseal(ready, change)
    result = checked(ready)

    assert result.passed
    assert (
        "there it was '1.0'" in found(result, "libraries").text or "there it was 1.0" in found(result, "libraries").text
    )
    assert "there it was 'a faster cpu'" in found(result, "host").text
    assert any("avx9" in item.text and item.difference for item in result.findings)
    assert "kernels" in found(result, "settings").text


def test_a_planted_slow_runtime_does_not_pass(ready: Path) -> None:
    """A runtime that became many times slower is found on the same host, with the ratio and its interval in words."""
    reseal(ready, setting("runtime", "latency_ms", value=30.0))

    result = checked(ready, timed=True)
    assert not result.passed and result.slowdown is not None and result.slowdown.low > 1
    assert "90 % interval" in found(result, "latency").text and "the bundle's band is" in found(result, "latency").text


def test_a_busy_host_is_told(ready: Path, tmp_path: Path) -> None:
    """Where other programs took a part of the processor the latency says so: the user looks again."""
    busy = RecordingTarget(tmp_path / "target", host=LocalTarget().host, load=Load(1.0, 0.62, None, None))
    idle = RecordingTarget(tmp_path / "target", host=LocalTarget().host, load=Load(1.0, 0.0, None, None))

    told, quiet = (found(checked(ready, timed=True, target=target), "latency").text for target in (busy, idle))
    assert "other programs took 62% of the processor" in told
    assert "other programs" not in quiet


def test_a_gate_fails_on_any_host(ready: Path) -> None:
    """Elsewhere a slow call is a remark, unless a gate was asked for."""
    reseal(ready, setting("runtime", "latency_ms", value=30.0))
    elsewhere = LocalTarget(replace(LocalTarget().host, cpu="another cpu"))

    told, gated = (checked(ready, timed=True, target=elsewhere, gate=gate) for gate in (None, 1.1))
    assert told.passed and found(told, "latency").difference and "another host" in found(told, "latency").text
    assert not gated.passed and "--gate 1.1 fails" in found(gated, "latency").text


def test_on_the_same_host_the_clock_must_say_so_too(ready: Path) -> None:
    """A probe that became faster makes no model slower: here the gate holds, and fails where no clock can be asked."""
    reseal(ready, setting("self_test", "latency", "ratio", value=1e-6))
    reseal(ready, setting("self_test", "latency", "model_ms", value=1e6))
    elsewhere = LocalTarget(replace(LocalTarget().host, cpu="another cpu"))

    here, there = (checked(ready, timed=True, target=target, gate=1.1) for target in (LocalTarget(), elsewhere))
    assert here.passed and here.slowdown is not None and here.slowdown.low > 1
    assert "by the clock it takes 0.00 times" in found(here, "latency").text
    assert not there.passed and "by the clock" not in found(there, "latency").text
    assert checked(ready, timed=True).passed


def test_a_planted_fast_runtime_holds_the_gate(ready: Path) -> None:
    """A bundle that was a hundred times slower when it was written passes every gate."""
    reseal(ready, setting("self_test", "latency", "ratio", value=1e6))

    result = checked(ready, timed=True, gate=1.0)
    assert result.passed and "--gate 1 holds" in found(result, "latency").text


def test_a_gate_that_cannot_be_judged_fails(ready: Path) -> None:
    """Where the bundle has no latency, or one beside another probe, a gate does not pass; else that is a remark."""
    without, other = (Path(shutil.copytree(ready, ready.parent / name)) for name in ("without", "other"))
    reseal(without, setting("self_test", "latency", value=None))
    reseal(other, setting("self_test", "latency", "probe", value=99))

    for folder in (without, other):
        assert checked(folder, timed=True).passed
        assert not checked(folder, timed=True, gate=1.5).passed


@pytest.mark.parametrize(
    "arguments", [{"gate": 0.5, "timed": True}, {"gate": 1.1}, {"gate": float("nan"), "timed": True}]
)
def test_arguments_that_make_no_sense_are_refused(ready: Path, arguments: Mapping[str, Any]) -> None:
    """A gate below 1, and one without timing, are bad input."""
    with pytest.raises(UsageError, match="--gate"):
        checked(ready, **arguments)


def test_a_bundle_of_an_earlier_version_is_checked(written: Path) -> None:
    """A bundle without golden answers passes, and what is not known of it is said."""
    result = checked(written)

    assert result.passed
    assert "no golden answers" in found(result, "self-test").text
    assert "does not say on which host" in found(result, "host").text


def test_a_signature_is_asked_for(ready: Path, tmp_path: Path) -> None:
    """With a public key an unsigned bundle does not pass."""
    _, public = keys(tmp_path / "keys")

    assert not checked(ready, verify=public).passed
    assert checked(ready).passed


def test_loading_warns_once_of_another_host(ready: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever loads a bundle elsewhere is told once, with all that differs; where nothing does, nothing is said."""
    load(ready, stand_ins=True).close()
    assert not caplog.records

    reseal(ready, setting("effective", "precision", value="bf16"))
    host = LocalTarget().host
    other = replace(host, cpu="another cpu", versions={**host.versions, "numpy": "0.1"})
    load(ready, stand_ins=True, target=LocalTarget(other)).close()
    (record,) = caplog.records
    for words in ("cpu is 'another cpu'", "numpy is 0.1", "the graph really runs in 'f32', there it ran in 'bf16'"):
        assert words in record.getMessage()


def test_the_command_ends_as_it_found(tmp_path: Path) -> None:
    """`autoopt check` prints JSON or sentences, and ends with 0 where all holds, with 2 where something matters."""
    folder = with_self_test(tmp_path, build_onnx, name="onnxruntime", precision="f32", threads=1)
    good = run("check", str(folder), "--no-latency", "--json")
    (folder / "README.txt").write_text("other")
    bad, bad_json = run("check", str(folder)), run("check", str(folder), "--json")

    assert good.returncode == 0 and json.loads(good.stdout)["passed"] is True, good.stderr
    assert bad.returncode == 2 and "FAILED  files: " in bad.stdout and "README.txt was altered" in bad.stdout
    assert bad_json.returncode == 2 and json.loads(bad_json.stdout)["findings"][0]["matters"] is True


def test_checking_needs_a_slim_install_only(tmp_path: Path) -> None:
    """Where of the heavy packages only the runtime and those of a slim install can be imported, a bundle is checked."""
    folder = with_self_test(tmp_path, build_onnx, name="onnxruntime", precision="f32", threads=1)
    missing = sorted({*HEAVY, "filelock", "pandas"} - {"onnxruntime", "typer", "rich", "pydantic", "psutil"})
    (tmp_path / "site").mkdir()  # read by every Python that starts: the child processes, too
    (tmp_path / "site" / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({missing}))\n")
    done = run("check", str(folder), "--no-latency", first_on_path=tmp_path / "site")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("deploy passed\n")


def test_the_commands_sign_and_verify(tmp_path: Path) -> None:
    """`autoopt sign` makes what `autoopt check --verify` asks for; without it that ends with 2."""
    folder = with_self_test(tmp_path, build_onnx, name="onnxruntime", precision="f32", threads=1)
    private, public = keys(tmp_path / "keys")
    verify = ("check", str(folder), "--no-latency", "--verify", str(public))

    assert run(*verify).returncode == 2
    signed = run("sign", str(folder), "--key", str(private))
    assert signed.returncode == 0 and "bundle.sig" in signed.stdout
    done = run(*verify)
    assert done.returncode == 0 and "signed by the owner of" in done.stdout, done.stdout


def run(*words: str, first_on_path: Path | None = None) -> subprocess.CompletedProcess[str]:
    code = f"import sys\nfrom autoopt.cli import main\nsys.argv = ['autoopt', *{words!r}]\nmain()"
    paths = [str(path) for path in (first_on_path, Path(autoopt.__file__).parent.parent) if path is not None]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
