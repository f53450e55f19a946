"""Studies in a real PostgreSQL server: TLS, one writer, takeover, a lost connection, numbers of several writers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autoopt import doctor
from autoopt.core.process import Child
from autoopt.core.records import Status, TrialRecord
from autoopt.errors import BusyError, StorageError
from autoopt.study.later import Later
from autoopt.study.postgresql import Connection, arguments, connection_to, with_driver
from autoopt.study.storage import StoredStudy, open_storage, read_study
from tests.postgresql import PLAIN, Cluster, make_certificates, server, tls
from tests.worlds import card_of, measured, point, scored, space_of

HOLDER = """
import socket, sys, time
from pathlib import Path
socket.gethostname = lambda: "elsewhere"
from autoopt.study.storage import open_storage
from tests.worlds import card_of, space_of
space = space_of(Path(sys.argv[2]))
with open_storage(sys.argv[1], card_of(space), space):
    print("in", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("tls") / "certs")


@pytest.fixture(scope="module")
def running(certificates: Path) -> Iterator[Cluster]:
    """A server that takes clients with certificates, and one user without."""
    with server(certificates) as found:
        yield found


@pytest.fixture
def url(running: Cluster, certificates: Path) -> Iterator[str]:
    """Its URL with a client's certificate; what a test stored is gone afterwards."""
    found = running.url(**tls(certificates))
    yield found
    _sql(found, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")


def _sql(url: str, text: str) -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(with_driver(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(text))
    engine.dispose()


def trial(place: int) -> TrialRecord:
    return TrialRecord(
        point(latency_ms=place), Status.COMPLETE, label=f"t{place}", measurement=measured(0.01), quality=scored(0.9)
    )


def test_a_connection_says_how_it_is_protected(running: Cluster, url: str) -> None:
    """TLS with a client's certificate, its protocol and who we are; or none, which on this machine is no warning."""
    found = connection_to(url)
    assert found.in_words.startswith("encrypted (TLSv1.") and found.warning == ""
    assert found.in_words.endswith("the server says we are postgres, by the certificate /CN=postgres")
    plain = connection_to(running.url(PLAIN, sslmode="disable"))
    assert plain.in_words == (
        "not encrypted, it stays on this machine; the server says we are postgres, without a client certificate"
    )
    with Child("autoopt.doctor", environment=doctor.server_environment()) as child:
        told = doctor.connection_check(url, child)
    assert told.ok is True and told.detail == found.in_words


def test_a_plain_connection_to_another_machine_is_warned_of() -> None:
    """What others can read is said, with what to add; not of TLS, of a socket file, of loopback."""
    said = Connection("me", None, None, None, "192.0.2.7").warning
    assert "at 192.0.2.7 is not encrypted" in said and "sslmode=verify-full" in said
    quiet = [("192.0.2.7", "TLSv1.3"), ("", None), ("/run", None), ("127.0.0.1", None), ("::1", None)]
    assert [Connection("me", protocol, None, None, place).warning for place, protocol in quiet] == [""] * len(quiet)


def test_what_a_url_says_of_dead_connections_is_left_alone() -> None:
    """A server that is away is noticed within a minute, unless the URL says otherwise; only of PostgreSQL."""
    usual = arguments("postgresql+psycopg://h/db")
    assert usual["keepalives_idle"] == 30
    assert "keepalives_idle" not in arguments("postgresql+psycopg://h/db?keepalives_idle=5")
    assert arguments("sqlite:///x.db") == arguments("postgresql+asyncpg://h/db") == {}


def test_who_may_not_come_is_refused_in_one_sentence(running: Cluster, certificates: Path, tmp_path: Path) -> None:
    """No certificate, one of another authority, no TLS at all: one line that shows no file of a key."""
    other = make_certificates(tmp_path / "other")
    own = tls(certificates)
    wrong = (
        {"sslmode": "verify-full", "sslrootcert": certificates / "ca.pem"},
        {**own, "sslcert": other / "client.pem", "sslkey": other / "client.key"},
        {**own, "sslrootcert": other / "ca.pem"},
        {"sslmode": "disable"},
    )
    for query in wrong:
        space = space_of(tmp_path)
        with (
            pytest.raises(StorageError, match="cannot be used") as caught,
            open_storage(running.url(**query), card_of(space), space),
        ):
            pass  # not reached
        assert len(str(caught.value).splitlines()) == 1 and "client.key" not in str(caught.value)


def test_a_driver_that_was_killed_is_followed_at_once(url: str, tmp_path: Path) -> None:
    """While it lives a second one is refused; after kill -9 the next one begins, though it was on another machine."""
    command = [sys.executable, "-c", HOLDER, url, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    space = space_of(tmp_path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "in\n"
        with pytest.raises(BusyError, match="is being searched"), open_storage(url, card_of(space), space):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with open_storage(url, card_of(space), space) as stored:
        assert stored.add(trial(1), {}, None, {}).number == 0


def _write_around(url: str, folder: Path, between: Callable[[], None]) -> None:
    """A search that stores one trial, and another one after something happened."""
    space = space_of(folder)
    with open_storage(url, card_of(space), space) as stored:
        stored.add(trial(len(stored.records())), {}, None, {})
        between()
        stored.add(trial(9), {}, None, {})


def test_a_search_whose_connection_was_lost_writes_no_more(url: str, tmp_path: Path) -> None:
    """The lock went with it, so somebody else may write: one sentence, nothing half-written, the next one goes on."""
    others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'postgres'"
    )
    with pytest.raises(StorageError, match=r"was lost .*this search stops, its trials until then are stored") as caught:
        _write_around(url, tmp_path, lambda: _sql(url, others))
    assert len(str(caught.value).splitlines()) == 1
    assert [record.label for record in read_study(url, None).records] == ["t0"]
    _write_around(url, tmp_path, lambda: None)
    assert [record.label for record in read_study(url, None).records] == ["t0", "t1", "t9"]


def test_a_server_that_crashes_ends_the_search_in_one_sentence(running: Cluster, url: str, tmp_path: Path) -> None:
    """While it is away that is what is said, not what its end leads to; once it is back the same study goes on."""
    try:
        with pytest.raises(StorageError, match="was lost"):
            _write_around(url, tmp_path, running.stop)
    finally:
        running.begin()
    _write_around(url, tmp_path, lambda: None)
    assert [record.label for record in read_study(url, None).records] == ["t0", "t1", "t9"]


def test_two_writers_number_their_own_rows_and_lose_nothing(url: str, tmp_path: Path) -> None:
    """Even writers that no lock keeps apart: each gets the number of its own row, and no later addition is lost."""
    import optuna

    space = space_of(tmp_path)
    card = card_of(space)
    with open_storage(url, card, space):
        pass

    def write(first: int) -> dict[str, int]:
        storage = optuna.storages.RDBStorage(with_driver(url))
        study = optuna.load_study(study_name=card.name, storage=storage)
        stored = StoredStudy(study, storage, card, space, lambda: None)
        records = [stored.add(trial(place), {}, None, {}) for place in range(first, first + 6)]
        for record in records:
            stored.add_later(record, Later.of(note=f"of {record.label}"))
        return {record.label: record.number for record in records}

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(write, (1, 101))
    found = {record.label: record for record in read_study(url, card.name).records}
    assert {label: record.number for label, record in found.items()} == one | other
    assert sorted(record.number for record in found.values()) == list(range(12))
    assert all(f"of {label}" in record.notes for label, record in found.items())
