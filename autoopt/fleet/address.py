"""Where the hub of a fleet is and what lets us in; why it cannot be reached is said in one sentence."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.core.packages import require
from autoopt.errors import UsageError
from autoopt.fleet.certificates import CA, CERTIFICATE, KEY

if TYPE_CHECKING:
    from distributed import Security

SCHEME = "tls://"
PORT = 8786
PATIENCE_S = 10.0
"""How long a hub may take to answer the first time."""
_PLACE = re.compile(r"tls://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(?::(\d{1,5}))?")


@dataclass(frozen=True)
class Place:
    """A host and a port, `tls://HOST:PORT` as text."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{SCHEME}{host}:{self.port}"


def place_of(text: str, what: str) -> Place:
    """Read `tls://HOST[:PORT]`; `what` names the option or argument. Raises UsageError for anything else."""
    found = _PLACE.fullmatch(text)
    if found is None or int(found[2] or PORT) > 65535:
        raise UsageError(f"{what} must be tls://HOST:PORT, such as tls://hub:{PORT}, got {text!r}")
    return Place(found[1].strip("[]"), int(found[2] or PORT))


@dataclass(frozen=True)
class Certificates:
    """A folder that `autoopt fleet init` wrote for a role."""

    folder: Path

    @classmethod
    def read(cls, folder: Path) -> Certificates:
        """Raises UsageError naming the file that is missing or does not fit, NeedsPackage without `distributed`."""
        require("distributed")
        for name in (CA, CERTIFICATE, KEY):
            if not (folder / name).is_file():
                raise UsageError(
                    f"--certs must be a folder with {CA}, {CERTIFICATE} and {KEY}, {folder / name} is missing: "
                    f"autoopt fleet init writes one for each role"
                )
        found = cls(folder)
        try:
            found.context()
        except (ssl.SSLError, OSError) as error:
            reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
            raise UsageError(f"--certs must be a folder with a certificate and its key, {folder}: {reason}") from error
        return found

    def context(self) -> ssl.SSLContext:
        """For a connection to a hub of this fleet: its authority decides, the name of the host does not."""
        context = ssl.create_default_context(cafile=str(self.folder / CA))
        context.check_hostname = False
        context.load_cert_chain(self.folder / CERTIFICATE, self.folder / KEY)
        return context

    def security(self) -> Security:
        """The same for Dask, for every role."""
        from distributed import Security

        certificate, key = str(self.folder / CERTIFICATE), str(self.folder / KEY)
        roles = ("scheduler", "worker", "client")
        files = {f"tls_{role}_cert": certificate for role in roles} | {f"tls_{role}_key": key for role in roles}
        return Security(tls_ca_file=str(self.folder / CA), require_encryption=True, **files)


def knock(hub: Place, certificates: Certificates, patience_s: float = PATIENCE_S) -> str:
    """The address of this machine that leads to the hub. Raises UsageError saying why the hub lets us not in.

    Only TLS is tried, without Dask: what comes through is a machine of this fleet.
    """
    try:
        with socket.create_connection((hub.host, hub.port), patience_s) as plain:
            own = str(plain.getsockname()[0])
            with certificates.context().wrap_socket(plain) as secure:
                secure.recv(1)  # with TLS 1.3 a refusal of our certificate comes with the first bytes
    except ssl.SSLCertVerificationError as error:
        raise UsageError(
            f"the hub at {hub} must have a certificate of the authority in {certificates.folder / CA}, it has not "
            f"({error.verify_message}): use a folder that was made for its fleet, or make a new one where it expired"
        ) from error
    except ssl.SSLError as error:
        raise UsageError(_refused(hub, certificates, error)) from error
    except TimeoutError:
        raise UsageError(
            f"the hub at {hub} must answer within {patience_s:g} s, it does not: does autoopt fleet serve run there?"
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"the hub at {hub} must be reachable, it is not ({reason}): start autoopt fleet serve there, open its port"
        ) from error
    return own


def _refused(hub: Place, certificates: Certificates, error: ssl.SSLError) -> str:
    reason = error.reason or str(error)
    if "ALERT" in reason:
        return (
            f"the hub at {hub} must know the authority of {certificates.folder / CERTIFICATE}, it refused it "
            f"({reason}): use a folder that was made for its fleet, or make a new one where it expired"
        )
    return f"the hub at {hub} must speak TLS, it does not ({reason}): start autoopt fleet serve there"
