"""The front of a study in a real registry, and from there anywhere: what is registered, and what comes back."""

from __future__ import annotations

import base64
import functools
import io
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import autoopt
from autoopt.core.store import Store
from autoopt.deploy.registered import SEAL, TRIAL, Registered, aliases, registered_name
from autoopt.errors import BundleError, NothingFits, TrackingError, UsageError
from autoopt.tracking.client_registry import ClientRegistry, registry_client, versions
from autoopt.tracking.model_files import requirements
from autoopt.tracking.register import Registrar, Registration
from autoopt.tracking.register import register as register_tested
from autoopt.tracking.served import IMAGE, LABELS
from autoopt.tracking.server import DEFAULTS, FIRST_CONTACT
from tests import tiny
from tests.deploy.bundles import image
from tests.mlflow_server import free_port, serving, started
from tests.postgresql import cluster
from tests.tracking.fronts import HERE, home_of, study, track

if TYPE_CHECKING:
    from mlflow import MlflowClient

ELSEWHERE = "ffffffffffff"
ROOT = Path(__file__).parents[2]

register = functools.partial(register_tested, self_test=False)  # what a bundle tests itself by is not looked at here


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a real `mlflow server --serve-artifacts`."""
    with serving(tmp_path_factory.mktemp("server")) as uri:
        yield uri


@pytest.fixture(scope="module")
def histo(server: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Registration]:
    """A home whose study of the workload histo is tracked and registered at the server: trials 3, 2, 1 on the front."""
    result = study("histo")
    home = home_of(tmp_path_factory.mktemp("histo"), result)
    track(result, server, home)
    return home, register(result, Store(home / "store"), server, home, HERE)


def client(uri: str) -> MlflowClient:
    import mlflow

    return mlflow.MlflowClient(uri, registry_uri=uri)


def known(uri: str, name: str) -> list[Registered]:
    with registry_client(uri) as mlflow:
        return versions(mlflow, name)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stored(tmp_path: Path, model: str) -> Path:
    """Where the server of this module keeps the bundle of a model."""
    return next(tmp_path.parent.glob(f"server0/artifacts/*/models/{model}/artifacts/artifacts/bundle"))


def test_each_member_of_the_front_is_a_version_with_tags_aliases_and_its_run(
    server: str, histo: tuple[Path, Registration]
) -> None:
    """A version tells study, trial, host, digests and numbers with intervals; its model hangs on its trial's run."""
    _, done = histo
    mlflow = client(server)
    assert done.name == "autoopt-histo" and sorted(done.versions) == [1, 2, 3] and done.new == (3, 2, 1)
    assert done.aliases == {
        **{f"fastest{behind}": done.versions[3] for behind in ("", f"-{HERE}")},
        **{f"balanced{behind}": done.versions[2] for behind in ("", f"-{HERE}")},
        **{f"best-quality{behind}": done.versions[1] for behind in ("", f"-{HERE}")},
        **{f"smallest{behind}": done.versions[2] for behind in ("", f"-{HERE}")},
    }
    assert done.aliases == {name: int(at) for name, at in mlflow.get_registered_model(done.name).aliases.items()}
    version = mlflow.get_model_version_by_alias("autoopt-histo", "fastest")
    tags = version.tags
    assert (tags["autoopt.study"], tags[TRIAL], tags["autoopt.demo"], tags["autoopt.host"]) == (
        "histo-1",
        "3",
        "false",
        HERE,
    )
    assert tags["autoopt.data_digest"] == "d" * 64 and tags["autoopt.weights_digest"] == "w" * 64
    assert float(tags["latency_low_ms"]) < float(tags["latency_p25_ms"]) == 9 < float(tags["latency_high_ms"])
    run = mlflow.get_run(version.run_id)
    assert run.data.tags[TRIAL] == "3" and run.info.status == "FINISHED"
    (output,) = run.outputs.model_outputs
    model = mlflow.get_logged_model(output.model_id)
    assert version.source == f"models:/{model.model_id}" and model.source_run_id == version.run_id
    assert {metric.key: metric.value for metric in model.metrics}["latency_p25_ms"] == pytest.approx(9)
    assert len(mlflow.get_metric_history(version.run_id, "latency_p25_ms")) == 1, "a second value makes a chart of it"


def test_no_file_of_a_model_tells_where_it_was_made_or_is_pickled(
    server: str, histo: tuple[Path, Registration], tmp_path: Path
) -> None:
    """The files of a registered model name no folder of the machine, and none of them is a pickle."""
    import mlflow

    home, _ = histo
    uri = client(server).get_model_version_download_uri("autoopt-histo", "1")
    assert uri.startswith("mlflow-artifacts:")
    files = contents(Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path), tracking_uri=server)))

    places = [str(home.parents[1]).encode(), str(Path.home()).encode() + b"/", b"/tmp/", str(ROOT).encode()]
    assert {"MLmodel", "autoopt_model.py", "artifacts/bundle/bundle.json"} <= set(files)
    assert not [name for name, data in files.items() if any(place in data for place in places)]
    assert not [name for name in files if name.endswith((".pkl", ".pickle"))]


def test_registering_again_adds_nothing_and_leaves_the_users_aliases(
    server: str, histo: tuple[Path, Registration]
) -> None:
    """The same front once more: the same versions; champion stays, also where it names one of ours."""
    home, done = histo
    mlflow = client(server)
    mlflow.set_registered_model_alias("autoopt-histo", "champion", str(done.versions[1]))
    again = register(study("histo"), Store(home / "store"), server, home, HERE)

    assert again.new == () and again.versions == done.versions and again.aliases == done.aliases
    assert len(known(server, "autoopt-histo")) == 3
    assert mlflow.get_registered_model("autoopt-histo").aliases["champion"] == str(done.versions[1])
    assert "3 models of the front, 0 of them new" in again.text


def test_an_alias_of_ours_that_the_user_gave_away_stays_there(server: str, tmp_path: Path) -> None:
    """Where `fastest` names a version that autoopt did not register it is left, and that is said."""
    result = study("given-away", members=(1,))
    home, mlflow = home_of(tmp_path, result), client(server)
    mlflow.create_registered_model("autoopt-given-away")
    model = mlflow.create_logged_model(mlflow.create_experiment("theirs")).model_id
    theirs = mlflow.create_model_version("autoopt-given-away", f"models:/{model}", model_id=model).version
    mlflow.set_registered_model_alias("autoopt-given-away", "fastest", theirs)
    done = register(result, Store(home / "store"), server, home, HERE)

    assert mlflow.get_registered_model("autoopt-given-away").aliases["fastest"] == theirs
    assert "fastest" not in done.aliases and done.aliases[f"fastest-{HERE}"] == done.versions[1]
    assert [f"names version {theirs}, which autoopt did not register" in remark for remark in done.remarks] == [True]


@pytest.mark.parametrize(("hosts", "count"), [("one", 12), ("many", 4)])
def test_many_at_once_make_one_version(server: str, tmp_path: Path, hosts: str, count: int) -> None:
    """Some that register one content at once: a single version is left, and all of them name it.

    Those of one host wait for each other; those of many hosts, whose locks are apart, take back what came second.
    """
    result = study(f"at-once-{hosts}", members=(1,))
    home, barrier = home_of(tmp_path, result), threading.Barrier(count)
    track(result, server, home)
    folders = [tmp_path / (f"locks-{number}" if hosts == "many" else "locks") for number in range(count)]
    for folder in folders:
        folder.mkdir(exist_ok=True)

    def one(folder: Path) -> Registration:
        barrier.wait()
        return register(result, Store(home / "store"), server, home, HERE, locks=folder)

    with ThreadPoolExecutor(count) as threads:
        done = list(threads.map(one, folders))
    (left,) = known(server, f"autoopt-at-once-{hosts}")

    assert {registration.versions[1] for registration in done} == {left.version}
    assert {name: os.environ[name] for name in FIRST_CONTACT if name in DEFAULTS} == {
        name: DEFAULTS[name] for name in FIRST_CONTACT if name in DEFAULTS
    }, "the patience of the first contact stays with the first contact"
    assert set(client(server).get_registered_model(left.name).aliases.values()) == {str(left.version)}


def test_a_bundle_is_pulled_from_a_url_alone(server: str, histo: tuple[Path, Registration], tmp_path: Path) -> None:
    """By alias and by limits, without MLflow and the study: byte for byte what the registry has, and it runs."""
    script = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"mlflow", "optuna", "torch", "scipy", "PIL", "yaml", "sqlalchemy", "requests"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
sys.argv = ["autoopt", *sys.argv[1:]]
from autoopt.cli import main
main()
"""

    def pull(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, "pull", *words, "--tracking-uri", server]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    named = pull("models:/autoopt-histo@fastest", "-o", "named")
    assert named.returncode == 0, named.stderr
    fitting = pull("--workload", "histo", "--max-latency", "12ms", "--max-drop", "0.01", "-o", "fitting")
    assert fitting.returncode == 0, fitting.stderr
    nothing = pull("--workload", "histo", "--max-latency", "1ms", "-o", "nothing")

    assert "trial #3 of histo-1" in named.stdout and f"measured on host {HERE} (a cpu)" in named.stdout
    assert "picked version" in fitting.stdout and "trial #2 of histo-1" in fitting.stdout
    model = client(server).get_model_version("autoopt-histo", "1").source.removeprefix("models:/")
    assert contents(tmp_path / "named") == contents(stored(tmp_path, model))
    with autoopt.load(tmp_path / "fitting") as predictor:
        assert predictor.info["trial"] == 2
        assert np.array_equal(predictor.predict(image()), image()[..., 0] > 0)
    assert nothing.returncode == 3 and "p25 latency (upper bound) binds, with --max-latency" in nothing.stderr
    assert "Traceback" not in nothing.stderr and not (tmp_path / "nothing").exists()


def test_demo_data_is_never_found_under_a_plain_name(server: str, tmp_path: Path) -> None:
    """A demo study gets demo-fastest and so on, and whoever pulls it is told that it is not for patients."""
    result = study("demo-histo", demo=True, members=(1,))
    home = home_of(tmp_path, result)
    done = register(result, Store(home / "store"), server, home, HERE)
    _, why = autoopt.pull(tmp_path / "deploy", "models:/autoopt-demo-histo@demo-fastest", tracking_uri=server)

    assert set(done.aliases) == {"demo-fastest", "demo-balanced", "demo-best-quality", "demo-smallest"}
    assert "DEMO: made from synthetic data. Not for patients." in why


def test_names_of_another_host_carry_its_fingerprint() -> None:
    """What was measured on another host gets no plain name, whether demo or not."""
    real, demo = study("w"), study("w", demo=True)
    assert aliases(real, real.front[0], ELSEWHERE)["fastest"] == (f"fastest-{HERE}",)
    assert aliases(demo, demo.front[0], ELSEWHERE)["fastest"] == (f"demo-fastest-{HERE}",)


def test_what_cannot_be_pulled_is_refused_in_one_sentence_and_leaves_nothing(server: str, tmp_path: Path) -> None:
    """A missing alias or model, a deleted model, files that went, another seal: each is told, nothing is written."""
    result = study("spoilt")
    home, mlflow = home_of(tmp_path, result), client(server)
    done = register(result, Store(home / "store"), server, home, HERE)
    name, out = "models:/autoopt-spoilt", tmp_path / "out" / "deploy"
    out.parent.mkdir()

    def refused(uri: str) -> str:
        with pytest.raises((TrackingError, BundleError)) as raised:
            autoopt.pull(out, uri, tracking_uri=server)
        assert list(out.parent.iterdir()) == []
        return str(raised.value)

    assert "has no model autoopt-spoilt with the alias 'quickest'" in refused(f"{name}@quickest")
    assert "it has balanced, " in refused(f"{name}@quickest")
    assert "no version 99 of model autoopt-spoilt" in refused(f"{name}/99")
    assert "has no model autoopt-nobody" in refused("models:/autoopt-nobody@fastest")
    mlflow.set_model_version_tag("autoopt-spoilt", str(done.versions[1]), SEAL, "0" * 64)
    assert "must have the SHA-256" in refused(f"{name}/{done.versions[1]}")
    model = mlflow.get_model_version("autoopt-spoilt", str(done.versions[3])).source.removeprefix("models:/")
    files = stored(tmp_path, model)
    (files / "model" / "model.bin").write_bytes(b"0" * (files / "model" / "model.bin").stat().st_size)
    assert "model.bin was altered" in refused(f"{name}@fastest")
    (files / "model" / "model.bin").unlink()
    assert "lacks model/model.bin" in refused(f"{name}@fastest")
    mlflow.delete_logged_model(model)
    assert "is empty: its model was deleted" in refused(f"{name}@fastest")
    with pytest.raises(UsageError, match="leave out the limits and --pick"):
        autoopt.pull(out, f"{name}@fastest", tracking_uri=server, max_latency_s=1.0, pick="fastest")


def test_a_version_whose_model_was_deleted_is_registered_anew(server: str, tmp_path: Path) -> None:
    """What can be downloaded no more does not count as registered."""
    result = study("deleted", members=(1,))
    home, mlflow = home_of(tmp_path, result), client(server)
    before = register(result, Store(home / "store"), server, home, HERE)
    mlflow.delete_logged_model(mlflow.get_model_version("autoopt-deleted", "1").source.removeprefix("models:/"))
    after = register(result, Store(home / "store"), server, home, HERE)

    assert (before.versions[1], after.versions[1]) == (1, 2)
    assert mlflow.get_registered_model("autoopt-deleted").aliases["fastest"] == "2"


def test_an_artifact_that_is_gone_registers_nothing(server: str, tmp_path: Path) -> None:
    """Where one member cannot be made into a bundle the trial is named, and no other is registered."""
    result = study("gone")
    with pytest.raises(BundleError, match="autoopt replay gone-1/"):
        register(result, Store(tmp_path / "store"), server, tmp_path, HERE)
    assert known(server, "autoopt-gone") == []
    with pytest.raises(NothingFits):
        register(
            replace(result, card=replace(result.card, limits={"latency_s": 1e-9})),
            Store(tmp_path),
            server,
            tmp_path,
            HERE,
        )


def test_a_search_that_ends_at_a_server_registers_its_front_and_never_fails_for_it(
    server: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the end of a finished search the front is there; what goes wrong is a warning; an interrupt adds nothing."""
    result = study("searched", members=(1,))
    home = home_of(tmp_path, result)

    def end(state: str, home: Path = home) -> list[Registered]:
        sink = Registrar(server, home, lambda: HERE)
        sink.check()
        assert sink.open(result) == set(result.stored)
        sink.changed(result)
        sink.close(state)
        return known(server, "autoopt-searched")

    assert end("interrupted") == []
    assert end("finished", tmp_path / "empty") == []
    assert "run autoopt register searched-1 again" in caplog.text
    assert [one.tags[TRIAL] for one in end("finished")] == ["1"]


def test_a_registry_in_a_database_is_read_where_its_files_are(tmp_path: Path) -> None:
    """Without a server registering works in the home's own MLflow, and in a copy of the home, which is elsewhere."""
    result = study("alone", members=(1,))
    home = home_of(tmp_path, result)
    uri = f"sqlite:///{home / 'mlflow.db'}"
    track(result, uri, home)
    register(result, Store(home / "store"), uri, home, HERE)
    home.rename(tmp_path / "moved")
    moved = f"sqlite:///{tmp_path / 'moved' / 'mlflow.db'}"
    one = ClientRegistry(moved, tmp_path / "moved").by_alias("autoopt-alone", "fastest")
    folder, _ = autoopt.pull(tmp_path / "deploy", "models:/autoopt-alone@fastest", home=tmp_path / "moved")

    assert one.tags[TRIAL] == "1" and json.loads((folder / "bundle.json").read_text())["trial"] == 1
    with pytest.raises(TrackingError, match=r"give --tracking-uri http://HOST:PORT"):
        autoopt.pull(tmp_path / "deploy", "models:/autoopt-alone@fastest", home=tmp_path / "nowhere")


def test_postgresql_keeps_a_registry_too(tmp_path: Path) -> None:
    """Behind a server on PostgreSQL several at once make one version as well, and it is pulled from there."""
    result = study("histo", members=(1,))
    home = home_of(tmp_path, result)
    (tmp_path / "server").mkdir()
    with cluster() as database:
        address = database.replace("postgresql://", "postgresql+psycopg://")
        with serving(tmp_path / "server", address) as uri:
            track(result, uri, home)
            folders = [tmp_path / f"locks-{number}" for number in range(4)]
            for folder in folders:
                folder.mkdir()
            with ThreadPoolExecutor(4) as threads:
                list(
                    threads.map(
                        lambda folder: register(result, Store(home / "store"), uri, home, HERE, locks=folder), folders
                    )
                )
            assert len(known(uri, "autoopt-histo")) == 1
            folder, _ = autoopt.pull(tmp_path / "deploy", workload="histo", tracking_uri=uri)
    assert json.loads((folder / "bundle.json").read_text())["trial"] == 1


def png(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def test_mlflow_serves_a_registered_model(
    server: str, histo: tuple[Path, Registration], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mlflow models serve` answers the bytes of a file, refuses lists of numbers, and tells no value of them."""
    tile = (np.random.default_rng(0).random((20, 24, 3)) * 255).astype(np.uint8)
    stream = io.BytesIO()
    np.save(stream, tile)
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/autoopt-histo@fastest"),
        *("--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)),
    ]
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it starts uvicorn by name
    for name, text in {"MLFLOW_TRACKING_URI": server, "PATH": paths, "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, text)

    def ask(body: Any) -> tuple[int, str]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    with started(command, tmp_path, f"http://127.0.0.1:{port}/ping"):
        rows = [[base64.b64encode(data).decode()] for data in (png(tile), stream.getvalue())]
        status, text = ask({"dataframe_split": {"columns": [IMAGE], "data": rows}})
        numbers = [ask({"inputs": [[[0.123456, 0.123457]]]}), ask({"instances": [[0.123456]]})]
        numbers.append(ask({"dataframe_split": {"columns": [IMAGE], "data": [[[0.123456, 0.123457]]]}}))

    assert status == 200, text
    first, second = (base64.b64decode(row[LABELS]) for row in json.loads(text)["predictions"])
    with autoopt.load(autoopt.pull(tmp_path / "b", "models:/autoopt-histo@fastest", tracking_uri=server)[0]) as local:
        wanted = local.predict(tile)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(first))), wanted)
    assert np.array_equal(np.load(io.BytesIO(second)), wanted)
    for code, answer in numbers:
        assert code == 400 and "0.12345" not in answer, answer
    assert "no list of numbers" in numbers[0][1]
    assert "0.12345" not in (tmp_path / "log").read_text()


def test_a_served_model_asks_for_what_it_was_measured_with() -> None:
    """The requirements name this version of autoopt, numpy, the runtime and what reads pictures; scipy where needed."""
    found = requirements(tiny.PIPELINE, "openvino", {"numpy": "2.4", "openvino": "2026.4.1"})
    assert found[1:] == ["numpy==2.4", "openvino==2026.4.1", "pillow"]
    assert "scipy" in requirements(replace(tiny.PIPELINE, fill_holes=True), "openvino", {})


def test_names_of_registered_models_hold_plain_characters_only() -> None:
    """A workload of any name is a name that MLflow takes and that needs no quotes."""
    assert registered_name("my net.onnx/2:a'b") == "autoopt-my-net.onnx-2-a-b"


def test_a_server_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    """Nobody listens: the URL is told without its secrets, and a password in it is refused."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(TrackingError, match=r"cannot be used .*check --tracking-uri and that the server runs"):
            autoopt.pull(tmp_path / "deploy", workload="histo", tracking_uri=uri)
    with pytest.raises(TrackingError) as raised:
        autoopt.pull(tmp_path / "deploy", workload="histo", tracking_uri="http://me:geheim@127.0.0.1:1")
    assert "MLFLOW_TRACKING_USERNAME" in str(raised.value) and "geheim" not in str(raised.value)
