"""A bundle that was changed, or makes no sense, is refused with the file and what to do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core.store import Store
from autoopt.deploy.layout import CARD, README, SEAL, check_regular_file, read_card, verify_files
from autoopt.deploy.predictor import load
from autoopt.errors import BundleError
from tests.deploy.bundles import build_onnx, build_openvino, reseal, write


@pytest.mark.parametrize("name", [CARD, README, "model/fake.json", "model/more/notes.txt"])
def test_a_changed_byte_is_refused(written: Path, name: str) -> None:
    """One flipped bit in any file is found, and the file named, before anything is loaded."""
    data = bytearray((written / name).read_bytes())
    data[len(data) // 2] ^= 1
    (written / name).write_bytes(data)

    with pytest.raises(BundleError, match=f"{name} was altered .* pull the bundle again"):
        load(written, stand_ins=True)


def test_a_file_of_another_size_or_digest_is_refused(written: Path) -> None:
    """Size and SHA-256 are both compared."""
    files = read_card(written)["files"]
    verify_files(written, files)
    for key, value in (("bytes", 1), ("sha256", "0" * 64)):
        changed = {**files, README: {**files[README], key: value}}
        with pytest.raises(BundleError, match=r"README\.txt was altered"):
            verify_files(written, changed)


@pytest.mark.parametrize("name", [CARD, SEAL, README, "model/fake.json"])
def test_a_missing_file_is_refused(written: Path, name: str) -> None:
    """A file that is gone is named."""
    (written / name).unlink()

    with pytest.raises(BundleError, match=f"{name} is missing: pull the bundle again"):
        load(written, stand_ins=True)


@pytest.mark.parametrize("name", [CARD, SEAL])
def test_a_card_that_is_a_link_is_refused(written: Path, name: str) -> None:
    """A link is not followed, even to a file with the right content."""
    (written / name).rename(written.parent / name)
    (written / name).symlink_to(written.parent / name)

    with pytest.raises(BundleError, match="is a link"):
        read_card(written)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "model/../../secret", "model\\x", "C:/x", "", "model/link"]
)
def test_names_that_lead_out_are_refused(written: Path, name: str) -> None:
    """A file name that leaves the folder, is absolute, or is a link, is refused even with a fitting digest."""
    (written.parent / "secret").write_text("secret")
    (written / "model" / "link").symlink_to(written.parent / "secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    reseal(written, lambda card: card["files"].update({name: {"sha256": digest, "bytes": 6}}))

    with pytest.raises(BundleError, match=r"must lie inside it|is a link"):
        load(written, stand_ins=True)


@given(name=st.text(st.sampled_from("./\\:~ a\0\n-*?"), max_size=12) | st.text(max_size=30))
def test_no_name_leads_out(bundle: Path, name: str) -> None:
    """Whatever the name of a file, it is refused or is a plain file inside the folder."""
    try:
        check_regular_file(bundle, name)
    except BundleError:
        return
    assert (bundle / name).resolve().is_relative_to(bundle.resolve()) and (bundle / name).is_file()


def test_a_file_without_a_digest_is_refused(written: Path) -> None:
    """A file beside the graph that the card does not list is refused: a runtime might read it."""
    (written / "model" / "model.bin").write_bytes(b"weights")

    with pytest.raises(BundleError, match=r"model/model\.bin is not a file of this bundle: remove it"):
        load(written, stand_ins=True)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema", 99, "bundle schema 99, this version reads 1: pull it again .* or load it with the version that"),
        ("format", "something", "must have format 'autoopt-bundle', it has 'something': choose"),
        ("runtime", {"name": "os.system"}, "must name a runtime .* pull the bundle again"),
        ("runtime", "fake", "must name a runtime"),
        ("pipeline", {"schema": 1, "task": "poetry"}, "the pipeline in .* cannot be used"),
        ("pipeline", None, "the pipeline in .* cannot be used"),
        ("labels", None, "must name a runtime .* the labels"),
        ("files", {"README.txt": "x"}, "must name a runtime .* and the files"),
        ("files", [], "must name a runtime .* and the files"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(written: Path, key: str, value: Any, message: str) -> None:
    """An unknown format, schema, runtime, pipeline or list of files is refused with its name and what to do."""
    reseal(written, lambda card: card.update({key: value}))

    with pytest.raises(BundleError, match=message):
        load(written, stand_ins=True)


def test_a_newer_bundle_names_the_version_that_wrote_it(written: Path) -> None:
    """A schema that this version cannot read says which version of autoopt can."""
    reseal(written, lambda card: card.update({"schema": 2, "versions": {"autoopt": "9.1"}}))

    with pytest.raises(BundleError, match=r"load it with autoopt 9\.1, which wrote it"):
        load(written, stand_ins=True)


@pytest.mark.parametrize("content", [b"not JSON", b"[]", b"{}"])
def test_a_card_that_is_none_is_refused(written: Path, content: bytes) -> None:
    """A bundle.json that is no JSON object with a format and a schema is refused."""
    (written / CARD).write_bytes(content)
    (written / SEAL).write_text(f"{hashlib.sha256(content).hexdigest()}  {CARD}\n")

    with pytest.raises(BundleError, match="must be the card of a bundle"):
        read_card(written)


@pytest.mark.parametrize("there", [False, True])
def test_what_is_no_folder_is_refused(tmp_path: Path, there: bool) -> None:
    """A path that is a file, or nothing, is no bundle."""
    if there:
        (tmp_path / "bundle").write_text("")
    with pytest.raises(BundleError, match="a bundle must be a folder, .* is " + ("a file" if there else "not there")):
        load(tmp_path / "bundle", stand_ins=True)


def _outside(folder: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(folder / "model.onnx")
    weights = model.graph.initializer[0]
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../secret")
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def _strange(folder: Path) -> None:
    text = (folder / "model.xml").read_text()
    (folder / "model.xml").write_text(
        text.replace('type="Convolution" version="opset1"', 'type="Run" version="extension"')
    )


def _wide(folder: Path) -> None:
    import openvino
    from openvino import opset13 as ops

    tile = ops.parameter([1, 3, 16, 16], np.float32)
    huge = ops.broadcast(ops.constant(np.float32(1)), ops.constant(np.array([1 << 20, 1 << 20])))
    total = ops.reduce_sum(huge, ops.constant(np.array([0, 1])), False)
    openvino.save_model(openvino.Model([ops.add(tile, total)], [tile]), folder / "model.xml")


@pytest.mark.parametrize(
    ("runtime", "build", "spoil", "message"),
    [
        ("onnxruntime", build_onnx, _outside, "the weights of a graph must lie in its folder"),
        ("openvino", build_openvino, _strange, "refused with RuntimeError"),
        ("openvino", build_openvino, _wide, "a tensor must have at most"),
    ],
)
def test_a_graph_that_must_not_be_opened_is_refused(
    tmp_path: Path,
    runtime: str,
    build: Callable[[Path], Any],
    spoil: Callable[[Path], None],
    message: str,
) -> None:
    """A graph that reads elsewhere, needs a library of others, or more memory than there is, makes no predictor."""

    def spoiled(folder: Path) -> Mapping[str, Any]:
        build(folder)
        spoil(folder)
        return {}

    artifact = Store(tmp_path / "store").put("model", "key", {}, spoiled)
    folder = write(tmp_path / "deploy", artifact, {"name": runtime, "precision": "f32", "threads": 1})

    with pytest.raises(BundleError, match=f"cannot be opened on this machine: .*{message}"):
        load(folder)
