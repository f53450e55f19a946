"""A throw-away PostgreSQL cluster on loopback, for the tests that need one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.mlflow_server import free_port

PLAIN = "template1"
"""The database that is reached without TLS, and the other one not."""
_ACCESS = f"""
hostnossl {PLAIN} all 127.0.0.1/32 trust
hostssl all all 127.0.0.1/32 cert
"""
"""Who may come where the server has TLS: whose certificate names the user."""


@dataclass(frozen=True)
class Cluster:
    """A running server: its port, and `control`, the command that starts and stops it."""

    port: int
    control: tuple[str, ...]
    start: tuple[str, ...]

    def url(self, database: str = "postgres", **query: object) -> str:
        """The URL of a database."""
        more = f"?{urlencode({name: str(value) for name, value in query.items()})}" if query else ""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}{more}"

    def stop(self) -> None:
        """End it at once, as a crash does."""
        subprocess.run([*self.control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd="/")

    def begin(self) -> None:
        """Start it; it repairs itself where it was ended at once."""
        subprocess.run([*self.control, *self.start], check=True, capture_output=True, cwd="/")


@contextmanager
def cluster() -> Iterator[str]:
    """The URL of a cluster for the block; the test is skipped where PostgreSQL is not installed."""
    with server() as running:
        yield running.url()


@contextmanager
def server(certificates: Path | None = None) -> Iterator[Cluster]:
    """A cluster for the block; the test is skipped where PostgreSQL is not installed.

    With `certificates`, a folder of `make_certificates`, it speaks TLS and asks for those of clients. It is not in
    pytest's folder, which every session that starts closes to all other users, such as postgres.
    """
    candidates = [shutil.which("initdb"), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")))]
    initdb = next((Path(item) for item in candidates if item), None)
    if initdb is None:
        pytest.skip("PostgreSQL's initdb is not installed")
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install autoopt[postgres]")
    with tempfile.TemporaryDirectory(prefix="autoopt-postgresql-", dir="/tmp") as folder:
        yield from _running(initdb, Path(folder), certificates)


def make_certificates(folder: Path) -> Path:
    """An authority of its own, a server 127.0.0.1 and a client `postgres`; skipped where openssl is not installed."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder.mkdir(parents=True)

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=tests", "-days", "2")
    for name, common in (("server", "127.0.0.1"), ("client", "postgres")):
        (folder / "names").write_text(
            "subjectAltName=IP:127.0.0.1" if name == "server" else "extendedKeyUsage=clientAuth"
        )
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={common}")
        sign = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", *sign, "-out", f"{name}.pem")
        (folder / f"{name}.key").chmod(0o600)
    return folder


def tls(folder: Path) -> Mapping[str, object]:
    """What the URL of a client says who has the certificate of `make_certificates`."""
    return {
        "sslmode": "verify-full",
        "sslrootcert": folder / "ca.pem",
        "sslcert": folder / "client.pem",
        "sslkey": folder / "client.key",
    }


def _running(initdb: Path, folder: Path, certificates: Path | None) -> Iterator[Cluster]:
    as_user = []
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data, port = folder / "data", free_port()
    subprocess.run(
        [*as_user, str(initdb), "-D", str(data), "-A", "trust", "-U", "postgres"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories={folder}"
    if certificates is not None:
        for name in ("server.pem", "server.key", "ca.pem"):
            place = Path(shutil.copy(certificates / name, data / name))
            place.chmod(0o600)
            if as_user:
                shutil.chown(place, "postgres")
        with (data / "pg_hba.conf").open("w") as access:
            access.write(f"local all all trust\n{_ACCESS}")
        options += " -c ssl=on -c ssl_cert_file=server.pem -c ssl_key_file=server.key -c ssl_ca_file=ca.pem"
    control = (*as_user, str(initdb.parent / "pg_ctl"), "-D", str(data), "-w")
    found = Cluster(port, control, ("-l", str(folder / "log"), "-o", options, "start"))
    found.begin()
    try:
        yield found
    finally:
        found.stop()
