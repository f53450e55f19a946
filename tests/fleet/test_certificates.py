"""The certificates of a fleet: one authority, a key for each role, nothing overwritten, nothing half-written."""

from __future__ import annotations

import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autoopt.errors import UsageError

pytest.importorskip("cryptography")

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from autoopt.fleet.certificates import ROLES, add, init


def read(folder: Path, name: str = "cert.pem") -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / name).read_bytes())


def test_a_fleet_has_an_authority_of_its_own_and_a_key_for_each_role(tmp_path: Path) -> None:
    """Every role's certificate is the authority's, names its role and ends in time; keys are for their owner only."""
    folders = init(tmp_path / "certs", days=7)

    authority = read(tmp_path / "certs" / "ca", "ca.pem")
    assert [folder.name for folder in folders] == list(ROLES)
    keys = set()
    for folder in folders:
        certificate = read(folder)
        certificate.verify_directly_issued_by(authority)
        public = certificate.public_key()
        assert isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1)
        keys.add(public.public_numbers())
        assert certificate.subject.rfc4514_string() == f"CN={folder.name}"
        assert timedelta(days=6) < certificate.not_valid_after_utc - datetime.now(UTC) < timedelta(days=8)
        assert read(folder, "ca.pem") == authority
    assert len(keys) == len(ROLES)
    for key in (tmp_path / "certs").rglob("key.pem"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "certs").stat().st_mode) == 0o700


def test_one_more_member_is_of_the_same_authority(tmp_path: Path) -> None:
    """`add` makes a folder of the same authority and role; a name that is taken keeps its key."""
    init(tmp_path / "certs")

    folder = add(tmp_path / "certs", "ward-3", "target")

    read(folder).verify_directly_issued_by(read(tmp_path / "certs" / "ca", "ca.pem"))
    assert read(folder).subject.rfc4514_string() == "CN=target"
    before = (folder / "key.pem").read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        add(tmp_path / "certs", "ward-3", "target")
    assert (folder / "key.pem").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "certs").iterdir()) == sorted(["ca", "ward-3", *ROLES])


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder that is there, also an empty one and a link to nowhere, is left as it was."""
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("there", "link"):
        with pytest.raises(UsageError, match="must be a new folder, it is there already"):
            init(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "there"]
    assert not list((tmp_path / "there").iterdir())


@pytest.mark.parametrize(
    ("name", "role", "words"),
    [
        ("../x", "target", "a name must be of small letters"),
        ("-x", "target", "a name must be of small letters"),
        ("ca", "target", "and not ca"),
        ("x", "boss", "--role must be one of scheduler, builder, target, client, got 'boss'"),
    ],
)
def test_odd_names_and_roles_are_refused(tmp_path: Path, name: str, role: str, words: str) -> None:
    """Names can never become other folders."""
    init(tmp_path / "certs")
    with pytest.raises(UsageError, match=words):
        add(tmp_path / "certs", name, role)


def test_an_authority_that_cannot_sign_is_refused(tmp_path: Path) -> None:
    """Without its key, or with another's, nobody is let in."""
    init(tmp_path / "one")
    init(tmp_path / "two")
    shutil.copy(tmp_path / "two" / "ca" / "key.pem", tmp_path / "one" / "ca" / "key.pem")
    with pytest.raises(UsageError, match=r"key\.pem is not the key of ca\.pem"):
        add(tmp_path / "one", "x", "target")
    (tmp_path / "one" / "ca" / "key.pem").unlink()
    with pytest.raises(UsageError, match=r"ca\.pem and key\.pem cannot be read there"):
        add(tmp_path / "one", "x", "target")
    with pytest.raises(UsageError, match="--days must be between 1 and 3650, got 0"):
        init(tmp_path / "three", days=0)
    assert not (tmp_path / "three").exists()
