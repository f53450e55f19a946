"""Signatures of bundles: Ed25519 (RFC 8032) over bundle.json, which has the digests of all other files.

The signature is the 64 bytes that `openssl pkeyutl -sign -rawin` writes, so that it can be made and verified without
autoopt too. Keys are PEM files as openssl writes them, or OpenSSH's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.core.plain_text import read_bounded
from autoopt.errors import BundleError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MOST_KEY_BYTES = 100_000
SIGNATURE_BYTES = 64
MAKE_KEYS = "openssl genpkey -algorithm ed25519 -out KEY && openssl pkey -in KEY -pubout -out PUBKEY"
"""How keys are made."""


def signature_of(data: bytes, key: Path) -> bytes:
    """The signature of `data` by the private key in the file `key`. Raises UsageError where it is no such key."""
    return _private_key(key).sign(data)


def check_signature(data: bytes, signature: Path, key: Path) -> None:
    """Raise BundleError unless the file `signature` holds one of `data` by the owner of the public key in `key`.

    Raises UsageError where `key` is no public key.
    """
    from cryptography.exceptions import InvalidSignature

    public = _public_key(key)
    if not signature.is_file():
        raise BundleError(
            f"{signature.parent} must be signed, {signature.name} is missing: do not use it, or ask for a signed one"
        )
    try:
        public.verify(read_bounded(signature, SIGNATURE_BYTES), data)
    except (InvalidSignature, ValueError, OSError) as error:
        raise BundleError(
            f"{signature} must be a signature of bundle.json by the owner of {key}, it is not: do not use the bundle"
        ) from error


def _private_key(path: Path) -> Ed25519PrivateKey:
    _need_library()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    data, wanted = _read(path), f"{path} must be a private Ed25519 key in PEM or OpenSSH form without a passphrase"
    load = load_ssh_private_key if b"OPENSSH" in data else load_pem_private_key
    try:
        key = load(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # its words may quote the file
        raise UsageError(f"{wanted}, it is not: make one with {MAKE_KEYS}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{wanted}, it is one of another kind: make one with {MAKE_KEYS}")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    _need_library()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key

    data, wanted = _read(path), f"{path} must be a public Ed25519 key in PEM or OpenSSH form"
    load = load_ssh_public_key if data.startswith(b"ssh-") else load_pem_public_key
    try:
        key = load(data)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        what = "it is a private one" if b"PRIVATE KEY" in data else "it is not"
        raise UsageError(f"{wanted}, {what}: openssl pkey -in KEY -pubout writes one") from None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{wanted}, it is one of another kind: make one with {MAKE_KEYS}")
    return key


def _read(path: Path) -> bytes:
    try:
        return read_bounded(path, MOST_KEY_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path} must be the file of a key, it cannot be read ({reason}): name another one") from error


def _need_library() -> None:
    """Raise UsageError where the library that signs is not installed."""
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise UsageError(f"signatures need the package cryptography ({error}): pip install 'autoopt[sign]'") from error
