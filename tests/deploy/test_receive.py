"""A bundle that comes from a folder or an archive of somebody else: whole and verified, or not at all."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import autoopt
from autoopt.deploy.layout import CARD, SEAL, SIGNATURE
from autoopt.deploy.receive import MOST_BYTES, FolderSource, receive
from autoopt.deploy.zip_source import ZipSource
from autoopt.errors import BundleError
from tests.deploy.bundles import reseal


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pack(path: Path, bundle: Path, top: str = "", change: Callable[[zipfile.ZipFile], None] | None = None) -> Path:
    """A ZIP of a bundle, below the folder `top` in it; `change` adds what should not be there."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents(bundle).items():
            archive.writestr(f"{top}{name}", data)
        if change is not None:
            change(archive)
    return path


@pytest.mark.parametrize("form", ["folder", "zip", "zip of a folder"])
def test_a_bundle_comes_byte_for_byte(bundle: Path, tmp_path: Path, form: str) -> None:
    """From a folder, and from a ZIP with the files at its top or in one folder; a bundle that is there is replaced."""
    source = bundle if form == "folder" else pack(tmp_path / "b.zip", bundle, "deploy/" if "folder" in form else "")
    for _ in range(2):
        folder, what = autoopt.pull(tmp_path / "out", source)
        assert contents(folder) == contents(bundle)
    assert "workload tiny (demo data)" in what


def test_a_signature_comes_along(written: Path, tmp_path: Path) -> None:
    """A signature beside bundle.json is taken from a folder and from a ZIP; other files that are not listed are not."""
    (written / SIGNATURE).write_bytes(bytes(64))
    (written / "other.txt").write_text("mine")
    for source in (written, pack(tmp_path / "b.zip", written)):
        folder, _ = autoopt.pull(tmp_path / "out", source)
        assert contents(folder) == {name: data for name, data in contents(written).items() if name != "other.txt"}


def add_link(archive: zipfile.ZipFile) -> None:
    member = zipfile.ZipInfo("model/link")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(member, "/etc/passwd")


def add_bomb(archive: zipfile.ZipFile) -> None:
    archive.writestr("model/zeros", bytes(130_000_000))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda archive: archive.writestr("../outside", "x"), "must lie inside it"),
        (lambda archive: archive.writestr("/etc/outside", "x"), "must lie inside it"),
        (lambda archive: archive.writestr("model\\outside", "x"), "must lie inside it"),
        (lambda archive: archive.writestr("C:outside", "x"), "must lie inside it"),
        (add_link, "is a link or a device"),
        (lambda archive: archive.writestr(CARD, "{}"), "is there twice"),
        (add_bomb, "would unpack to"),
    ],
    ids=["parent", "absolute", "backslash", "drive", "link", "twice", "bomb"],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_archive_is_refused(
    bundle: Path, tmp_path: Path, change: Callable[[zipfile.ZipFile], None], words: str
) -> None:
    """Names that lead outside, links, doubled names, and archives that unpack to far more than their size."""
    source = pack(tmp_path / "b.zip", bundle, change=change)
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleError, match=words):
        autoopt.pull(tmp_path / "out" / "deploy", source)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_member_that_is_longer_than_it_says_is_refused(bundle: Path, tmp_path: Path) -> None:
    """The header of an archive may lie about sizes: no more is written than bundle.json allows."""
    data = bytearray(pack(tmp_path / "b.zip", bundle).read_bytes())
    place = data.index(b"PK\x01\x02")
    data[place + 24 : place + 28] = (1).to_bytes(4, "little")
    (tmp_path / "lies.zip").write_bytes(data)
    with pytest.raises(BundleError):
        autoopt.pull(tmp_path / "deploy", tmp_path / "lies.zip")
    assert not (tmp_path / "deploy").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + bytes(40)])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    """Any file that is not the ZIP of one bundle is named."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BundleError, match="must be the folder of a bundle or a ZIP of one"):
        autoopt.pull(tmp_path / "deploy", tmp_path / "file")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(BundleError, match=r"must hold bundle\.json at its top or in one folder"):
        autoopt.pull(tmp_path / "deploy", tmp_path / "empty.zip")
    with pytest.raises(BundleError, match="it is not there"):
        autoopt.pull(tmp_path / "deploy", tmp_path / "nothing.zip")


def test_an_archive_that_lacks_a_file_or_has_a_damaged_one_is_refused(bundle: Path, tmp_path: Path) -> None:
    """Every file that bundle.json lists must be in the archive and keep its digest."""
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for name in (CARD, SEAL):
            archive.write(bundle / name, name)
    with (
        ZipSource(tmp_path / "b.zip") as source,
        pytest.raises(BundleError, match="it does not: make the archive again"),
    ):
        receive(source, tmp_path / "deploy")
    assert not (tmp_path / "deploy").exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"../outside": {"bytes": 1, "sha256": "0"}}, "must lie inside it"),
        ({"/etc/outside": {"bytes": 1, "sha256": "0"}}, "must lie inside it"),
        ({CARD: {"bytes": 1, "sha256": "0"}}, "must not list bundle.json itself"),
        ({"model/a": {"bytes": MOST_BYTES + 1, "sha256": "0"}}, "must list at most 50 GB"),
        ({"model/a": {"bytes": -1, "sha256": "0"}}, "must give the bytes of every file"),
        ({"model/a": {"sha256": "0"}}, "must give the bytes of every file"),
        ({f"model/{number}": {"bytes": 1, "sha256": "0"} for number in range(10_001)}, "must list at most 10000 files"),
    ],
)
def test_a_list_of_files_that_leads_astray_is_refused(
    written: Path, tmp_path: Path, files: dict[str, dict[str, object]], words: str
) -> None:
    """Names that leave the folder, huge files and huge lists are refused before anything of them is read."""
    reseal(written, lambda card: card.update(files=files))
    with pytest.raises(BundleError, match=words):
        receive(FolderSource(written), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_bundle_than_the_one_that_was_meant_is_refused(bundle: Path, tmp_path: Path) -> None:
    """Where somebody else tells the digest of bundle.json, an intact bundle with another one is not taken."""
    with pytest.raises(BundleError, match=r"must have the SHA-256 '0000.*register the model again"):
        receive(FolderSource(bundle), tmp_path / "out", seal="0" * 64)


def test_the_bundle_that_is_there_stays_where_the_new_one_is_spoilt(
    written: Path, bundle: Path, tmp_path: Path
) -> None:
    """A failed pull leaves what was in the folder before, and messages name the source, not a temporary folder."""
    receive(FolderSource(bundle), tmp_path / "out" / "deploy")
    (written / "model" / "fake.json").write_text('{"classes": 9}')
    with pytest.raises(BundleError) as raised:
        receive(FolderSource(written), tmp_path / "out" / "deploy")

    assert f"{written / 'model' / 'fake.json'} was altered" in str(raised.value)
    assert contents(tmp_path / "out" / "deploy") == contents(bundle)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["deploy"]
