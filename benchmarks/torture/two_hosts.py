"""Two hosts on one study in PostgreSQL, of which one falls asleep: the other takes over, the sleeper writes no more.

A host that sleeps keeps its advisory lock as long as the server keeps its connection: until then nobody takes over. A
server drops it when it notices (TCP keep-alive), which is done here by pg_terminate_backend.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoopt.core.records import TrialRecord
from autoopt.study.postgresql import with_driver
from autoopt.study.storage import read_study
from benchmarks.torture.commands import arguments
from benchmarks.torture.judging import ended_badly, lost
from benchmarks.torture.searching import DidNotHold, Search, identities
from benchmarks.torture.table import Setting, Tried

BUDGET = 6
FIRST, SECOND = "first", "second"


def two_hosts(setting: Setting) -> Iterator[Tried]:
    """The story with two names of hosts and with one; every step is a try of its own."""
    reason = _cannot()
    if reason:
        yield Tried("two hosts", skipped=reason)
        return
    for equal in (False, True):
        with setting.folder() as folder, _server(folder / "server") as url:
            try:
                yield from _story(setting, folder, url, equal=equal)
            except DidNotHold as error:
                yield Tried(f"{'equal' if equal else 'two'} names", (str(error),))


def _story(setting: Setting, folder: Path, url: str, *, equal: bool) -> Iterator[Tried]:
    names = "one name" if equal else "two names"
    sleeper, other = (_host(setting, folder, url, name, named="" if equal else name) for name in (FIRST, SECOND))
    try:
        sleeper.go_on()
        sleeper.wait_for(lambda: sleeper.trials_told > 0, "no trial ends")
        sleeper.wait_for_worker()
        os.kill(sleeper.go_on(), signal.SIGSTOP)
        before = _records(url)
        refused = list(ended_badly(other.end(), codes=(2,), words=("is being searched",), lines=1))
        yield Tried(f"{names}: refused while the sleeper has its connection", tuple(refused))
        _drop_connections(url)
        other.go_on()
        other.wait_for(lambda: other.trials_told > 0, "the other host does not take over")
        os.kill(sleeper.go_on(), signal.SIGCONT)
        said = list(ended_badly(sleeper.end(), codes=(2,), words=("this search stops",), lines=1))
        yield Tried(f"{names}: the sleeper stops with one line", tuple(said))
        taken = list(ended_badly(other.end(), codes=(0,)))
        yield Tried(f"{names}: the other one finishes, nobody wrote twice", (*taken, *_twice(before, _records(url))))
    finally:
        for search in (sleeper, other):
            search.close()


def _twice(before: list[TrialRecord], after: list[TrialRecord]) -> Iterator[str]:
    yield from lost(before, after)
    if [record.number for record in after] != list(range(BUDGET)):
        yield f"trials {[record.number for record in after]} instead of 0 to {BUDGET - 1}"
    if len({digest for _, digest, _ in identities(after)}) != len(after):
        yield "a configuration was tried twice"


def _host(setting: Setting, folder: Path, url: str, name: str, *, named: str) -> Search:
    own = folder / name
    own.mkdir()
    before = ["unshare", "--uts", "sh", "-c", f'hostname {named}; exec "$@"', "sh"] if named else []
    return Search(own, [*arguments(setting.data, own / "home", BUDGET), "--storage", url], before=before)


def _records(url: str) -> list[TrialRecord]:
    return list(read_study(url, None).records)


def _drop_connections(url: str) -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(with_driver(url), isolation_level="AUTOCOMMIT")
    ask = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(ask))
    engine.dispose()


def _cannot() -> str:
    """Why this cannot be tried here; empty where it can."""
    if _initdb() is None:
        return "PostgreSQL's initdb is not installed"
    try:
        import psycopg  # noqa: F401 - asked for, not used
    except ImportError:
        return "psycopg is not installed: pip install autoopt[postgres]"
    if os.getuid() != 0 or shutil.which("runuser") is None or shutil.which("unshare") is None:
        return "root, runuser and unshare are needed: for the user postgres and for names of hosts"
    return ""


def _initdb() -> Path | None:
    found = [shutil.which("initdb"), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")))]
    return next((Path(item) for item in found if item), None)


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    """The URL of a PostgreSQL server of its own for the block; it runs as the user postgres."""
    initdb = _initdb()
    assert initdb is not None
    folder.mkdir()
    folder.parent.chmod(0o755)
    shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    as_user, data = ["runuser", "-u", "postgres", "--"], str(folder / "data")

    def run(*words: str) -> None:
        subprocess.run([*as_user, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")

    run(str(initdb), "-D", data, "-A", "trust", "-U", "postgres")
    control = [str(initdb.parent / "pg_ctl"), "-D", data, "-w"]
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories={folder}"
    run(*control, "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        run(*control, "-m", "immediate", "stop")
