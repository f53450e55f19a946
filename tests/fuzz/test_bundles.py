"""Bundles of any kind are opened, or refused as bundles, in little time and memory, whoever made them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autoopt.core.store import Store, file_digest
from autoopt.deploy.layout import CARD, SEAL
from tests.deploy.bundles import build_onnx, build_openvino, put_fake, with_self_test, write
from tests.fuzz.probe import ACCEPTED, REFUSED, Outcome, Probe
from tests.fuzz.strategies import altered, damaged, examples, nested

Probes = Callable[[str], Probe]
GRAPHS = {"onnxruntime": (build_onnx, "model/model.onnx"), "openvino": (build_openvino, "model/model.xml")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle for each runtime."""
    root = tmp_path_factory.mktemp("bundles")
    store = Store(root / "store")
    found = {"fake": write(root / "fake", put_fake(store))}
    for name, (build, _) in GRAPHS.items():
        settings = {"name": name, "precision": "f32", "threads": 1}
        found[name] = write(root / name, store.put("model", name, {}, build), settings)
    return found


@contextmanager
def copied(bundle: Path) -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(shutil.copytree(bundle, Path(folder) / "bundle", symlinks=True))


def seal(folder: Path, data: bytes) -> None:
    """Write a card and its right digest, as somebody with bad intentions would."""
    (folder / CARD).write_bytes(data)
    (folder / SEAL).write_text(f"{hashlib.sha256(data).hexdigest()}  {CARD}\n")


def reseal(folder: Path, **changes: Any) -> None:
    """Change keys of the card, list all files of model/ with their right digests, and seal it."""
    card = json.loads((folder / CARD).read_text())
    card["files"] |= {
        path.relative_to(folder).as_posix(): {"sha256": file_digest(path), "bytes": path.stat().st_size}
        for path in (folder / "model").rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    seal(folder, json.dumps({**card, **changes}).encode())


def good(outcome: Outcome) -> str:
    assert outcome.good, outcome
    return outcome.kind


def _link_to_everything(folder: Path) -> None:
    shutil.rmtree(folder / "model")
    (folder / "model").symlink_to("/")


def _pipe(folder: Path) -> None:
    (folder / SEAL).unlink()
    os.mkfifo(folder / SEAL)


def _files(folder: Path, name: str) -> None:
    reseal(folder, files={name: {"sha256": "0" * 64, "bytes": 1}})


def _runtime(folder: Path, **settings: Any) -> None:
    card = json.loads((folder / CARD).read_text())
    reseal(folder, runtime={**card["runtime"], **settings})


def _pipeline(folder: Path, **settings: Any) -> None:
    card = json.loads((folder / CARD).read_text())
    reseal(folder, pipeline={**card["pipeline"], **settings})


BAD: dict[str, Callable[[Path], Any]] = {
    "a nested card": lambda f: seal(f, nested(200_000).encode()),
    "a card nested in keys": lambda f: seal(f, ('{"a":' * 100_000 + "1" + "}" * 100_000).encode()),
    "a huge card": lambda f: seal(
        f, b'{"format": "autoopt-bundle", "schema": 1, "x": [' + b"[]," * 10_000_000 + b"1]}"
    ),
    "a card of zeros": lambda f: os.truncate(f / CARD, 10**10),
    "a huge seal": lambda f: os.truncate(f / SEAL, 10**10),
    "a seal that is a pipe": _pipe,
    "a link to everything": _link_to_everything,
    "another format": lambda f: reseal(f, format="long " * 100_000),
    "another schema": lambda f: reseal(f, schema=["long " * 100_000]),
    "a version of odd type": lambda f: reseal(f, schema=2, versions={"autoopt": "long " * 100_000}),
    "no runtime": lambda f: reseal(f, runtime={"name": ["fake"]}),
    "labels that are no names": lambda f: reseal(f, labels=[1, None]),
    "labels without end": lambda f: reseal(f, labels=["a"] * 100_000),
    "a million threads": lambda f: _runtime(f, threads=1_000_000),
    "threads in words": lambda f: _runtime(f, threads="many"),
    "threads in a list": lambda f: _runtime(f, threads=[1]),
    "an unknown precision": lambda f: _runtime(f, precision="f1"),
    "a path that escapes": lambda f: _files(f, "../../etc/passwd"),
    "a path from the root": lambda f: _files(f, "/etc/passwd"),
    "a path that is too long": lambda f: _files(f, "a" * 5000),
    "a path of many parts": lambda f: _files(f, "a/" * 50_000),
    "a path that cannot be written": lambda f: _files(f, "\ud800"),
    "a path with a null character": lambda f: _files(f, "a\0b"),
    "a path to the folder": lambda f: _files(f, "."),
    "another file in model": lambda f: (f / "model" / "extra.bin").write_bytes(b"x"),
    "a mean that is no number": lambda f: _pipeline(f, mean=["a", "b", "c"]),
    "a mean that is NaN": lambda f: _pipeline(f, mean=[float("nan")] * 3),
    "an infinite scale": lambda f: _pipeline(f, scale=float("inf")),
    "a tile of fractions": lambda f: _pipeline(f, tile=[16.5, 16]),
    "a tile without end": lambda f: _pipeline(f, tile=[10**9, 10**9]),
    "a tile of too many axes": lambda f: _pipeline(f, tile=[16] * 500),
    "an overlap in words": lambda f: _pipeline(f, overlap="half"),
    "classes in words": lambda f: _pipeline(f, classes="two"),
    "other classes than labels": lambda f: _pipeline(f, classes=5),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bundle_that_cannot_be_used_is_refused(probe: Probes, made: dict[str, Path], name: str) -> None:
    """A bundle that is nested, huge, escapes or has settings that cannot work is refused in words."""
    for runtime in ("fake", "onnxruntime"):
        with copied(made[runtime]) as folder:
            BAD[name](folder)
            assert good(probe("bundle")(folder)) == REFUSED


def test_a_whole_bundle_is_opened(probe: Probes, made: dict[str, Path]) -> None:
    """The bundles that all others here are made of can be used."""
    for bundle in made.values():
        assert good(probe("bundle")(bundle)) == ACCEPTED


def test_a_bundle_of_a_stand_in_is_refused(probe: Probes, made: dict[str, Path]) -> None:
    """Users never get answers from the runtime that only tests use, whatever its settings would do."""
    assert good(probe("deployed")(made["fake"])) == REFUSED


def build_loop(folder: Path, condition: bool, count: int | None) -> None:
    """The tiny graph in a loop that goes on while `condition`, at most `count` times."""
    from onnx import TensorProto, helper, load, numpy_helper, save

    build_onnx(folder)
    model = load(folder / "model.onnx")
    outer = model.graph
    outer.initializer.append(numpy_helper.from_array(np.array(condition), "go_on"))
    inputs = ["", "go_on", "logits"]
    if count is not None:
        outer.initializer.append(numpy_helper.from_array(np.array(count), "count"))
        inputs[0] = "count"
    kinds = [("i", TensorProto.INT64, []), ("c", TensorProto.BOOL, []), ("x", TensorProto.FLOAT, None)]
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c_out"]), helper.make_node("Identity", ["x"], ["x_out"])],
        "body",
        [helper.make_tensor_value_info(*kind) for kind in kinds],
        [
            helper.make_tensor_value_info(name, *rest)
            for name, (_, *rest) in zip(("c_out", "x_out"), kinds[1:], strict=True)
        ],
    )
    outer.node.append(helper.make_node("Loop", inputs, ["looped"], body=body))
    outer.output[0].name = "looped"
    save(model, folder / "model.onnx")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("count", [None, 2**62, 3])
def test_a_loop_without_an_end_is_refused(
    probe: Probes, made: dict[str, Path], runtime: str, count: int | None
) -> None:
    """A graph may loop a number of times that it states, and not for ever."""
    with copied(made[runtime]) as folder:
        if runtime == "onnxruntime":
            build_loop(folder / "model", True, count)
        else:
            import openvino

            with TemporaryDirectory() as source:
                build_loop(Path(source), True, count)
                openvino.save_model(openvino.convert_model(Path(source) / "model.onnx"), folder / "model/model.xml")
        reseal(folder)
        assert good(probe("bundle")(folder)) == (ACCEPTED if count == 3 else REFUSED)


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with golden inputs and answers."""
    return with_self_test(tmp_path_factory.mktemp("tested"))


@examples(60)
@given(data=st.data())
def test_a_self_test_of_odd_values_is_read_or_refused(probe: Probes, tested: Path, data: st.DataObject) -> None:
    """A self-test with odd values in any place of the card, and the right digest, is read or refused."""
    card = json.loads((tested / CARD).read_text())
    with copied(tested) as folder:
        seal(folder, json.dumps({**card, "self_test": data.draw(altered(card["self_test"]))}).encode())
        good(probe("self-test")(folder))


@examples(40)
@given(data=st.data())
def test_a_damaged_golden_array_is_read_or_refused(probe: Probes, tested: Path, data: st.DataObject) -> None:
    """An array with any bytes changed, and the right digest, is read or refused, and takes little memory."""
    card = json.loads((tested / CARD).read_text())
    with copied(tested) as folder:
        path = data.draw(st.sampled_from(sorted((folder / "self_test").iterdir())))
        path.write_bytes(data.draw(damaged(path.read_bytes())))
        card["files"][f"self_test/{path.name}"] = {"sha256": file_digest(path), "bytes": path.stat().st_size}
        seal(folder, json.dumps(card).encode())
        good(probe("self-test")(folder))


@examples(60)
@given(data=st.data())
def test_a_card_of_odd_values_is_used_or_refused(probe: Probes, made: dict[str, Path], data: st.DataObject) -> None:
    """A card with odd values in any place, and the right digest, is a bundle or refused."""
    card = json.loads((made["fake"] / CARD).read_text())
    with copied(made["fake"]) as folder:
        seal(folder, json.dumps(data.draw(altered(card))).encode())
        good(probe("bundle")(folder))


@examples(40)
@given(data=st.data())
def test_a_damaged_bundle_is_refused(probe: Probes, made: dict[str, Path], data: st.DataObject) -> None:
    """A bundle any of whose files was changed is refused."""
    runtime = data.draw(st.sampled_from(sorted(made)))
    with copied(made[runtime]) as folder:
        path = data.draw(st.sampled_from([path for path in sorted(folder.rglob("*")) if path.is_file()]))
        before = path.read_bytes()
        path.write_bytes(data.draw(damaged(before)))
        same = path.read_bytes() == before or path.name in ("README.txt", SEAL)
        assert good(probe("bundle")(folder)) == REFUSED or same


@examples(40)
@given(data=st.data())
def test_a_damaged_graph_is_opened_or_refused(probe: Probes, made: dict[str, Path], data: st.DataObject) -> None:
    """A graph with any bytes changed, and the right digest, is opened or refused."""
    runtime = data.draw(st.sampled_from(sorted(GRAPHS)))
    with copied(made[runtime]) as folder:
        path = folder / GRAPHS[runtime][1]
        path.write_bytes(data.draw(damaged(path.read_bytes())))
        reseal(folder)
        good(probe("bundle")(folder))


def archive_of(bundle: Path, path: Path) -> bytes:
    """The bytes of a ZIP of a bundle."""
    return Path(shutil.make_archive(str(path), "zip", bundle)).read_bytes()


@examples(60)
@given(data=st.data())
def test_a_damaged_archive_is_received_whole_or_refused(
    probe: Probes, made: dict[str, Path], data: st.DataObject
) -> None:
    """A ZIP with any bytes changed gives the bundle that was packed, or is refused."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bundle.zip"
        path.write_bytes(data.draw(damaged(archive_of(made["fake"], Path(folder) / "whole"))))
        good(probe("received")(path))


def image_files() -> dict[str, bytes]:
    """A picture and an array that the small model takes."""
    values = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    png, npy = io.BytesIO(), io.BytesIO()
    Image.fromarray(values).save(png, "PNG")
    np.save(npy, values)
    return {"png": png.getvalue(), "npy": npy.getvalue()}


@examples(60)
@given(data=st.data())
def test_a_damaged_image_is_answered_or_refused(probe: Probes, data: st.DataObject) -> None:
    """A file with any bytes changed that is sent to a served model is answered or refused, in little memory."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        path.write_bytes(data.draw(damaged(image_files()[data.draw(st.sampled_from(["png", "npy"]))])))
        good(probe("request")(path))


def test_a_picture_that_is_huge_when_unpacked_is_refused(probe: Probes, tmp_path: Path) -> None:
    """A PNG of few bytes may stand for gigabytes: it is not unpacked."""
    Image.new("RGB", (13_000, 13_000)).save(tmp_path / "huge.png")
    assert good(probe("request")(tmp_path / "huge.png")) == REFUSED
