"""Signatures: made by one key, verified by its other half, refused from anybody else and for anything else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from autoopt.deploy.layout import CARD, SIGNATURE, read_card
from autoopt.deploy.predictor import load
from autoopt.deploy.writer import sign_bundle
from autoopt.errors import BundleError, UsageError
from tests.deploy.bundles import reseal, write

pytest.importorskip("cryptography")
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519


def keys(folder: Path, name: str = "key", *, ssh: bool = False) -> tuple[Path, Path]:
    """A new pair of keys, private and public, as openssl or ssh-keygen write them."""
    folder.mkdir(exist_ok=True)
    key, private, public = ed25519.Ed25519PrivateKey.generate(), folder / f"{name}.pem", folder / f"{name}.pub"
    kind = form.PrivateFormat.OpenSSH if ssh else form.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(form.Encoding.PEM, kind, form.NoEncryption()))
    if ssh:
        public.write_bytes(key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH))
    else:
        public.write_bytes(key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.mark.parametrize("ssh", [False, True])
def test_a_signed_bundle_is_loaded(written: Path, tmp_path: Path, ssh: bool) -> None:
    """A bundle that the owner of the key signed is loaded with the public key, in the forms of openssl and OpenSSH."""
    private, public = keys(tmp_path / "keys", ssh=ssh)

    assert sign_bundle(written, private) == written / SIGNATURE
    load(written, verify=public, stand_ins=True).close()


def test_no_signature_and_a_wrong_one_are_refused(written: Path, tmp_path: Path) -> None:
    """Without a signature, with that of somebody else, and of another bundle.json, nothing is loaded."""
    private, public = keys(tmp_path / "keys")
    with pytest.raises(BundleError, match=r"must be signed, bundle\.sig is missing"):
        load(written, verify=public, stand_ins=True)

    sign_bundle(written, keys(tmp_path / "keys", "other")[0])
    with pytest.raises(BundleError, match=r"must be a signature of bundle\.json by the owner of"):
        load(written, verify=public, stand_ins=True)

    sign_bundle(written, private)
    read_card(written, public)
    reseal(written, lambda card: card.update(demo=False))  # all digests fit
    with pytest.raises(BundleError, match=r"must be a signature of bundle\.json"):
        load(written, verify=public, stand_ins=True)


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"x" * 65, b"x" * 10**6])
def test_a_signature_of_odd_bytes_is_refused(written: Path, tmp_path: Path, content: bytes) -> None:
    """Whatever else is in the file of the signature is no signature."""
    (written / SIGNATURE).write_bytes(content)

    with pytest.raises(BundleError, match="must be a signature"):
        read_card(written, keys(tmp_path / "keys")[1])


def test_a_signature_that_is_a_link_is_refused(written: Path, tmp_path: Path) -> None:
    """A link is not followed, also to a right signature, when reading and when writing."""
    private, public = keys(tmp_path / "keys")
    sign_bundle(written, private).rename(tmp_path / "elsewhere")
    (written / SIGNATURE).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(BundleError, match="is a link"):
        read_card(written, public)
    with pytest.raises(BundleError, match="is a link"):
        sign_bundle(written, private)


def test_an_altered_bundle_is_not_signed(written: Path, tmp_path: Path) -> None:
    """Nobody signs what is not what it says."""
    (written / "README.txt").write_text("other")

    with pytest.raises(BundleError, match="was altered"):
        sign_bundle(written, keys(tmp_path / "keys")[0])
    assert not (written / SIGNATURE).exists()


def test_wrong_keys_are_told_without_their_content(written: Path, tmp_path: Path) -> None:
    """What is no key, one of another kind, the wrong half and one with a passphrase are named, never quoted."""
    private, public = keys(tmp_path / "keys")
    secret, curve, locked = (tmp_path / name for name in ("secret", "curve", "locked"))
    secret.write_text("-----BEGIN PRIVATE KEY-----\nmy-secret-words\n-----END PRIVATE KEY-----\n")
    key = ec.generate_private_key(ec.SECP256R1())
    curve.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
    locked.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"words")
        )
    )
    for file in (secret, curve, locked, public, tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match=f"{file.name} must be") as raised:
            sign_bundle(written, file)
        assert "secret-words" not in str(raised.value)
    sign_bundle(written, private)
    for file in (private, secret, curve, tmp_path / "none"):
        with pytest.raises(UsageError, match=f"{file.name} must be") as raised:
            read_card(written, file)
        assert "secret-words" not in str(raised.value)


def test_a_signed_bundle_is_replaced(written: Path, tmp_path: Path, artifact: object) -> None:
    """The signature belongs to the bundle: a new bundle takes its place, and is not signed."""
    sign_bundle(written, keys(tmp_path / "keys")[0])
    write(written, artifact)  # type: ignore[arg-type]

    assert not (written / SIGNATURE).exists()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
def test_openssl_agrees(written: Path, tmp_path: Path) -> None:
    """The documented commands make keys that sign, and openssl alone verifies the signature and makes one."""
    commands = "openssl genpkey -algorithm ed25519 -out KEY && openssl pkey -in KEY -pubout -out PUBKEY"
    subprocess.run(commands, shell=True, check=True, cwd=tmp_path)
    private, public = tmp_path / "KEY", tmp_path / "PUBKEY"
    sign_bundle(written, private)
    by_hand = ["openssl", "pkeyutl", "-rawin", "-in", written / CARD]

    verified = [*by_hand, "-verify", "-pubin", "-inkey", public, "-sigfile", written / SIGNATURE]
    subprocess.run(verified, check=True, capture_output=True)
    (written / SIGNATURE).unlink()
    subprocess.run([*by_hand, "-sign", "-inkey", private, "-out", written / SIGNATURE], check=True, capture_output=True)
    read_card(written, public)
