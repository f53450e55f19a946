"""Who is not of the fleet is told so in one sentence, before Dask is let at anything."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from autoopt.errors import UsageError
from autoopt.fleet.address import Certificates, Place, place_of
from autoopt.fleet.hello import ask, greet
from autoopt.fleet.settings import versions
from tests.fleet.cluster import Cluster

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def others(certs: Path) -> Path:
    """The certificates of another fleet, and those with which somebody pretends to be of this one."""
    from autoopt.fleet.certificates import init

    folder = certs.parent / "others"
    init(folder)
    shutil.copytree(folder / "client", folder / "pretender")
    shutil.copy(certs / "ca" / "ca.pem", folder / "pretender" / "ca.pem")
    return folder


def test_machines_of_other_fleets_are_refused(cluster: Cluster, others: Path) -> None:
    """Another authority, on either side, is one sentence."""
    with pytest.raises(UsageError, match=r"must have a certificate of the authority in .*, it has not"):
        greet(cluster.hub, Certificates.read(others / "client"), "client")
    with pytest.raises(UsageError, match=r"must know the authority of .*pretender/cert\.pem, it refused it"):
        greet(cluster.hub, Certificates.read(others / "pretender"), "client")


def test_no_certificate_at_all_is_refused(cluster: Cluster) -> None:
    """TLS without a certificate gets not a byte of Dask's."""
    context = ssl.create_default_context(cafile=str(cluster.certs / "client" / "ca.pem"))
    context.check_hostname = False
    with (
        socket.create_connection((cluster.hub.host, cluster.hub.port)) as plain,
        pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"),
        context.wrap_socket(plain) as secure,
    ):
        secure.recv(1)


def test_plain_tcp_is_refused(cluster: Cluster) -> None:
    """Dask's own client without TLS does not get in."""
    from distributed import Client

    with pytest.raises((OSError, RuntimeError)):
        Client(str(cluster.hub).replace("tls", "tcp"), timeout=2, set_as_default=False)


def test_a_wrong_role_and_other_versions_are_refused(cluster: Cluster) -> None:
    """The certificate must be that of the role; whatever differs in the versions is named with both."""
    client = Certificates.read(cluster.certs / "client")
    with pytest.raises(UsageError, match="--certs must be the folder of a client, it is that of a target"):
        greet(cluster.hub, Certificates.read(cluster.certs / "target"), "client")
    ours = {**versions(), "autoopt": "0.0.1"}
    with pytest.raises(UsageError, match=r"same versions everywhere, here and at the hub are autoopt 0\.0\.1 and "):
        greet(cluster.hub, client, "client", ours)
    assert greet(cluster.hub, client, "client") == "127.0.0.1"


def test_a_target_may_not_tell_the_hub_what_to_do(cluster: Cluster) -> None:
    """The seat belt: with a target's certificate the hub does not say who is there, and runs nothing."""
    target = Certificates.read(cluster.certs / "target")
    for do in ("autoopt_status", "run_function", "terminate"):
        with pytest.raises(UsageError, match=r"it does not know .* or allow it"):
            ask(cluster.hub, target, do)
    assert cluster.processes["hub"].poll() is None


def test_a_hub_that_is_none_is_told(certs: Path) -> None:
    """Nobody there, a server without TLS, and one that says nothing: a sentence each."""
    client = Certificates.read(certs / "client")
    with pytest.raises(UsageError, match=r"must be reachable, it is not \(Connection refused\)"):
        greet(Place("127.0.0.1", 1), client, "client")
    assert "must speak TLS, it does not" in _refused(client, lambda to: to.sendall(b"HTTP/1.1 200 OK\r\n\r\n"))


def _refused(client: Certificates, answer: Callable[[socket.socket], object]) -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            to = server.accept()[0]
            with to:
                answer(to)
                to.recv(10_000)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(UsageError) as caught:
            greet(Place("127.0.0.1", server.getsockname()[1]), client, "client")
        thread.join()
    return str(caught.value)


@pytest.mark.parametrize(
    "text", ["hub:8786", "tcp://hub:8786", "tls://", "tls://-hub", "tls://hub:99999", "tls://hub/x", "tls://a b"]
)
def test_addresses_are_read_strictly(text: str) -> None:
    """Anything but tls://HOST:PORT is refused."""
    with pytest.raises(UsageError, match="must be tls://HOST:PORT"):
        place_of(text, "HUB")


def test_addresses_are_written_as_read() -> None:
    """Ports have a default, IPv6 its brackets."""
    assert str(place_of("tls://hub", "HUB")) == "tls://hub:8786"
    assert str(place_of("tls://[::1]:99", "HUB")) == "tls://[::1]:99"


def test_a_folder_without_key_is_refused(certs: Path, tmp_path: Path) -> None:
    """The file that is missing is named, and who writes it; a key of another certificate does not pass."""
    shutil.copytree(certs / "client", tmp_path / "client")
    shutil.copy(certs / "target" / "key.pem", tmp_path / "client" / "key.pem")
    with pytest.raises(UsageError, match="KEY_VALUES_MISMATCH"):
        Certificates.read(tmp_path / "client")
    (tmp_path / "client" / "key.pem").unlink()
    with pytest.raises(UsageError, match=r"key\.pem is missing: autoopt fleet init"):
        Certificates.read(tmp_path / "client")


def test_a_second_member_of_a_name_is_refused_and_status_shows_the_first(cluster: Cluster) -> None:
    """Exit code 2 and one sentence for a name that is taken; `fleet status` says who is there, as table and JSON."""
    arguments = ["autoopt", "target", "serve", str(cluster.hub), "--certs", str(cluster.certs / "target")]
    done = run(*arguments, "--name", "a", "--home", str(cluster.folder))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("autoopt: --name must be free in this fleet, a is there already")
    assert done.stderr.count("\n") == 1

    status = ("autoopt", "fleet", "status", str(cluster.hub), "--certs", str(cluster.certs / "client"))
    table = run(*status).stdout
    assert table.splitlines()[0].split() == ["name", "role", "does", "study", "host", "versions", "free"]
    assert table.splitlines()[1].startswith("a     target  nothing")
    assert table.splitlines()[-1] == "0 builders, 2 targets"
    assert '"name": "b"' in run(*status, "--json").stdout


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, timeout=60)
