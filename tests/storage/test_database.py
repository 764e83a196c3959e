"""A database that cannot be written, does not answer, or is another one all of a sudden."""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import postgres
import psycopg
import pytest
from outbox_helpers import insert_event
from support import new_database, new_sqlite, until

from bridge.errors import StorageError
from bridge.storage import database as databases
from bridge.storage.database import Database
from bridge.storage.driver import Connection
from bridge.storage.postgres import PostgresConnection

LONGEST = 10.0  # seconds that a request may wait for the database


def count_events(database: Database) -> int:
    with database.read() as connection:
        return len(connection.execute("SELECT 1 FROM events"))


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A folder for a database, as a user who is not root, whom no permission would stop."""
    with tempfile.TemporaryDirectory(prefix="bridge-nobody-") as name:
        folder = Path(name)
        (folder / "x.db").write_bytes(new_sqlite())
        if os.geteuid():
            yield folder
        else:
            for path in (folder, folder / "x.db"):
                os.chown(path, 65534, 65534)
            os.seteuid(65534)
            try:
                yield folder
            finally:
                os.seteuid(0)
        folder.chmod(0o700)


@pytest.mark.parametrize("read_only", [".", "x.db"])
def test_a_read_only_file_or_folder_is_no_good_health(nobodys: Path, read_only: str) -> None:
    (nobodys / read_only).chmod(0o555)
    database = Database(f"sqlite:///{nobodys}/x.db")
    with pytest.raises(StorageError, match=r"readonly|unable to open"):
        database.check()
    with pytest.raises(StorageError, match=r"readonly|unable to open"):
        database.open()
    for path in (nobodys, *nobodys.iterdir()):  # SQLite gives its log the mode of the file
        path.chmod(0o755)
    database.open()
    database.check()


def test_a_postgresql_that_is_read_only_is_no_good_health(
    postgres_server: postgres.Server, postgres_url: str
) -> None:
    database, name = Database(postgres_url), postgres_url.rpartition("/")[2]
    database.check()
    others = Connection(postgres_server.url())
    others.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    others.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name",
        {"name": name},
    )
    with pytest.raises(StorageError):
        database.write(insert_event)
    with pytest.raises(StorageError, match="read-only transaction"):
        database.write(insert_event)
    with pytest.raises(StorageError, match="read-only transaction"):
        database.check()
    others.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    database.write(insert_event)
    database.check()
    others.close()


def test_health_is_what_the_last_write_saw_and_a_trial_when_there_was_none(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(database_url)
    database.write(insert_event)

    def fail(connection: Connection) -> None:
        connection.execute("UPDATE events SET type = NULL")

    with pytest.raises(StorageError, match=r"(?i)not.null"):
        database.write(fail)
    with pytest.raises(StorageError, match=r"(?i)not.null"):
        database.check()  # without a trial, which would succeed
    monkeypatch.setattr(databases, "TRIAL_EVERY", 0.0)
    database.check()


def test_a_disk_with_next_to_nothing_left_is_no_good_health(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(f"sqlite:///{tmp_path}/x.db")
    database.open()
    database.check()
    monkeypatch.setattr(databases, "MIN_FREE", 1 << 62)
    with pytest.raises(StorageError, match="disk is full"):
        database.check()
    with pytest.raises(StorageError, match="disk is full"):
        database.open()
    assert database.write(insert_event) == 1  # while it can


def test_a_mistake_of_ours_is_not_the_databases_bad_health(database_url: str) -> None:
    database = Database(database_url)
    database.check()
    with pytest.raises(ZeroDivisionError):
        database.write(lambda connection: 1 // 0)
    database.check()


def test_a_trial_changes_nothing_that_anybody_sees(database_url: str) -> None:
    database = Database(database_url)
    database.open()
    database.open()
    new_database(database_url)  # whoever starts next finds the schema up to date


# How long a caller waits


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Have somebody else lock everything that is written."""
    other = Connection(url)
    other.begin()
    if other.is_postgres:
        other.execute("LOCK TABLE events, deliveries, bots, schema_versions")
    try:
        yield
    finally:
        other.close()


@contextmanager
def frozen(server: postgres.Server) -> Iterator[None]:
    """Have every process of a server stop, while its machine goes on taking connections."""
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


def seconds(ask: Callable[[], object]) -> float:
    """Ask what must fail with a StorageError; return how long that took."""
    began = time.monotonic()
    with pytest.raises(StorageError):
        ask()
    return time.monotonic() - began


def longest_wait(database: Database, *also: Callable[[], object]) -> float:
    """Return the longest wait of a leader, of two that queue behind it, and of others."""
    late = threading.Event()

    def write_later() -> float:
        late.wait(2.0)  # so that it leads when the first has waited for long
        return seconds(lambda: database.write(insert_event))

    with ThreadPoolExecutor(8) as pool:
        waits = [pool.submit(seconds, lambda: database.write(insert_event))]
        waits += [pool.submit(write_later) for _ in range(2)]
        waits += [pool.submit(seconds, ask) for ask in also]
        return max(wait.result() for wait in waits)


def test_nobody_waits_long_for_a_lock_of_somebody_else(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "TRIAL_EVERY", 0.0)
    database, fresh = Database(database_url), Database(database_url)
    database.write(insert_event)
    with locked(database_url):
        wait = longest_wait(database, database.check, lambda: fresh.write(insert_event))
    assert wait <= LONGEST
    assert database.write(insert_event) > 1
    assert fresh.write(insert_event) > 1


def test_nobody_waits_long_for_a_server_that_has_stopped_answering() -> None:
    if not postgres.binaries():
        assert not os.environ.get("CI"), postgres.INSTALL
        pytest.skip(f"there is no PostgreSQL: {postgres.INSTALL}")
    with postgres.served() as server:
        url = server.create("frozen")
        database, fresh = Database(url), Database(url)
        database.write(insert_event)
        assert count_events(database) == 1
        with frozen(server):
            wait = longest_wait(
                database, lambda: count_events(database), lambda: fresh.write(insert_event)
            )
        assert wait <= LONGEST
        assert database.write(insert_event) > 1
        assert fresh.write(insert_event) > 1
        database.close()
        fresh.close()


def test_a_slow_upgrade_of_the_schema_goes_on_while_nobody_waits_for_it(database_url: str) -> None:
    go = threading.Event()

    def prepare(connection: Connection) -> list[str]:
        go.wait(30)
        return []

    database = Database(database_url, prepare)
    with pytest.raises(StorageError, match="no connection in time"):
        database.open(0.1)
    with pytest.raises(StorageError, match="no connection in time"):
        database.open(0.1)
    go.set()
    assert database.write(insert_event) == 1


def test_an_open_database_leaves_nothing_that_a_fork_would_share(database_url: str) -> None:
    threads = threading.active_count()
    database = Database(database_url)
    database.open()
    until(lambda: threading.active_count() == threads, "no thread is left")
    parent, child = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(child, b"%d" % database.write(insert_event))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(parent, 10) == b"1"
    assert database.write(insert_event) == 2
    database.close()
    os.close(parent)
    os.close(child)


# A file that is not there any more, or another


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "x.db").write_bytes(new_sqlite())
    return folder


def remove_folder(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def move_folder(folder: Path) -> None:
    folder.rename(folder.parent / "elsewhere")
    folder.mkdir()


def replace_file(folder: Path) -> None:
    (folder / "new.db").write_bytes(new_sqlite())
    (folder / "new.db").rename(folder / "x.db")


def replace_all(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    (folder / "x.db").write_bytes(new_sqlite())


def remove_file(folder: Path) -> None:
    (folder / "x.db").unlink()


def remove_log(folder: Path) -> None:
    (folder / "x.db-wal").unlink()


@pytest.mark.parametrize(
    "happens", [remove_folder, move_folder, replace_file, replace_all, remove_file, remove_log]
)
def test_what_is_written_is_in_the_file_at_the_path_or_was_refused(
    folder: Path, happens: Callable[[Path], None]
) -> None:
    database = Database(f"sqlite:///{folder}/x.db")
    database.write(insert_event)
    assert count_events(database) == 1
    happens(folder)
    if not folder.exists():
        with pytest.raises(StorageError, match="unable to open"):
            database.write(insert_event)
        with pytest.raises(StorageError, match="unable to open"):
            database.check()
        folder.mkdir()
    for _ in range(3):
        database.write(insert_event)
    database.check()
    assert count_events(database) >= 3
    database.close()
    after = Database(f"sqlite:///{folder}/x.db")
    assert count_events(after) >= 3


def test_a_commit_into_a_file_that_went_meanwhile_is_no_success(folder: Path) -> None:
    database = Database(f"sqlite:///{folder}/x.db")

    def write_and_lose(connection: Connection) -> None:
        insert_event(connection)
        replace_all(folder)

    with pytest.raises(StorageError, match="removed or replaced"):
        database.write(write_and_lose)
    assert count_events(database) == 0
    assert database.write(insert_event) == 1


def test_what_was_written_into_a_file_that_went_meanwhile_is_written_into_the_new_one(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(f"sqlite:///{folder}/x.db")
    database.write(insert_event)
    runs = []

    def write_and_lose_once(connection: Connection) -> int:
        number = insert_event(connection)
        if not runs:
            replace_all(folder)
        runs.append(number)
        return number

    assert database.write(write_and_lose_once) == 1
    assert runs == [2, 1]
    assert count_events(database) == 1
    assert caplog.text.count("removed or replaced") == 1
    replace_all(folder)
    assert database.write(insert_event) == 1  # nobody has to send it again


def test_who_only_reads_notices_it_too_and_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(f"sqlite:///{folder}/x.db")
    database.write(insert_event)
    assert count_events(database) == 1
    replace_all(folder)
    assert count_events(database) == 0
    assert caplog.text.count("removed or replaced") == 1


def test_a_server_that_never_answers_keeps_no_listener(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "ANSWER", 0.1)
    slow = property(lambda connection: connection.execute("SELECT pg_sleep(60)"))
    monkeypatch.setattr(PostgresConnection, "is_pooled", slow)
    database = Database(postgres_url)
    with pytest.raises(psycopg.OperationalError, match="too long"):
        database.listen(threading.Event())
