"""The certificates of a fleet: a certificate authority of its own, and a key and certificate for each role.

CERTS/ca/          ca.pem, key.pem: who has this key can let others in; it is needed for `autoopt fleet add` only
CERTS/ROLE/        ca.pem, cert.pem, key.pem: what a machine of that role gets, and nothing else

A certificate's common name is its role. Keys are EC P-256, for their owner only. They end with the authority.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.core.packages import needs
from autoopt.core.plain_text import read_bounded
from autoopt.core.scratch import hidden_folder
from autoopt.errors import UsageError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

ROLES = ("scheduler", "builder", "target", "client")
"""The parts of a fleet: the hub, those who make, those who measure, and the search that tells them what to do."""
CA, CERTIFICATE, KEY = "ca.pem", "cert.pem", "key.pem"
AUTHORITY = "ca"
"""The folder of the authority."""
DAYS, MOST_DAYS = 30, 3650
MOST_BYTES = 100_000
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_EARLIER = timedelta(minutes=5)
"""Clocks of two machines differ."""


@needs("cryptography")
def init(folder: Path, days: int = DAYS) -> Sequence[Path]:
    """Make an authority and a folder for each role in the new folder `folder`; returns those folders.

    Raises UsageError where `folder` is there already or cannot be made: nothing is overwritten, nothing half-written.
    """
    if not 1 <= days <= MOST_DAYS:
        raise UsageError(f"--days must be between 1 and {MOST_DAYS}, got {days}")
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} must be a new folder, it is there already: name another one, or remove its keys")
    key, authority = _new_authority(days)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = hidden_folder(folder.parent)  # only this user can look into it
        try:
            _write(made / AUTHORITY, {CA: _pem(authority), KEY: _pem_of_key(key)})
            for role in ROLES:
                _write(made / role, _member(role, key, authority))
            os.rename(made, folder)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise UsageError(f"{folder} must be a folder that can be made: {error.strerror}") from error
    return [folder / role for role in ROLES]


@needs("cryptography")
def add(folder: Path, name: str, role: str) -> Path:
    """Make one more key and certificate of `role` in `folder`/`name`, from the authority in `folder`; returns that.

    Raises UsageError for a wrong name or role, a name that is taken, and an authority that is missing or has ended.
    """
    if role not in ROLES:
        raise UsageError(f"--role must be one of {', '.join(ROLES)}, got {role!r}")
    if not _NAME.fullmatch(name) or name == AUTHORITY:
        raise UsageError(f"a name must be of small letters, digits and hyphens and not {AUTHORITY}, got {name!r}")
    if (folder / name).exists():
        raise UsageError(f"{folder / name} must be a new folder, it is there already: name another one")
    key, authority = _read_authority(folder / AUTHORITY)
    try:
        made = hidden_folder(folder)
        try:
            _write(made / role, _member(role, key, authority))
            os.rename(made / role, folder / name)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise UsageError(f"{folder / name} must be a folder that can be made: {error.strerror}") from error
    return folder / name


def _new_authority(days: int) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _named("autoopt fleet")
    now = datetime.now(UTC)
    builder = _begun(name, name, key.public_key(), now - _EARLIER, now + timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return key, builder.add_extension(own, critical=False).sign(key, hashes.SHA256())


def _member(role: str, ca_key: EllipticCurvePrivateKey, ca: x509.Certificate) -> dict[str, bytes]:
    """The files of a member of the fleet."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

    key = ec.generate_private_key(ec.SECP256R1())
    begin = datetime.now(UTC) - _EARLIER
    builder = _begun(_named(role), ca.subject, key.public_key(), begin, ca.not_valid_after_utc)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    both = x509.ExtendedKeyUsage([Purpose.SERVER_AUTH, Purpose.CLIENT_AUTH])  # all dial and are dialled
    builder = builder.add_extension(both, critical=False)
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    theirs = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = builder.add_extension(own, critical=False).add_extension(theirs, critical=False)
    certificate = builder.sign(ca_key, hashes.SHA256())
    return {CA: _pem(ca), CERTIFICATE: _pem(certificate), KEY: _pem_of_key(key)}


def _begun(
    subject: x509.Name, issuer: x509.Name, public: Any, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    from cryptography import x509

    builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
    return builder.not_valid_before(begin).not_valid_after(end)


def _named(name: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _read_authority(folder: Path) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    wanted = f"{folder} must be the authority that autoopt fleet init wrote"
    try:
        authority = x509.load_pem_x509_certificate(read_bounded(folder / CA, MOST_BYTES))
        key = load_pem_private_key(read_bounded(folder / KEY, MOST_BYTES), password=None)
    except (OSError, ValueError, TypeError):  # its words may quote the file
        raise UsageError(f"{wanted}, {CA} and {KEY} cannot be read there: name its folder") from None
    if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != authority.public_key():
        raise UsageError(f"{wanted}, {KEY} is not the key of {CA}: name another folder")
    if authority.not_valid_after_utc <= datetime.now(UTC):
        end = authority.not_valid_after_utc.date()
        raise UsageError(f"{wanted} and still be valid, it ended on {end}: make a new fleet with autoopt fleet init")
    return key, authority


def _write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(mode=0o700)
    for name, data in files.items():
        mode = 0o600 if name == KEY else 0o644
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _pem_of_key(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
