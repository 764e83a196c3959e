"""Group commit: what one caller's failure means for those committed with it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from outbox_helpers import busy_writer, insert_event, put
from support import Clock, until

from bridge.errors import StorageError
from bridge.storage.database import Database
from bridge.storage.driver import Connection
from bridge.storage.outbox import Outbox


@pytest.mark.parametrize("fails", [ZeroDivisionError, StorageError])
def test_a_write_that_fails_does_not_harm_those_committed_with_it(
    database_url: str, fails: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(database_url)

    def broken(connection: Connection) -> None:
        insert_event(connection)
        if fails is ZeroDivisionError:
            raise ZeroDivisionError
        connection.execute("UPDATE events SET type = NULL")

    with ThreadPoolExecutor(2) as pool:
        with busy_writer(database, queued=2):
            together = [pool.submit(database.write, job) for job in (insert_event, broken)]
        together[0].result()
        with pytest.raises(fails):
            together[1].result()
    assert not caplog.records  # the driver keeps quiet about what its caller hears of
    with database.read() as connection:
        assert len(connection.execute("SELECT 1 FROM events")) == 1


def test_what_waits_for_a_thread_that_ends_all_of_a_sudden_is_not_taken_for_written(
    database_url: str,
) -> None:
    database = Database(database_url)

    def end(connection: Connection) -> None:
        raise SystemExit

    with ThreadPoolExecutor(2) as pool:
        with busy_writer(database, queued=2):
            two = [pool.submit(database.write, end)]
            until(lambda: database.writer.queued == 1)
            two.append(pool.submit(database.write, lambda connection: None))
        with pytest.raises(SystemExit):
            two[0].result()
        with pytest.raises(StorageError, match="interrupted"):
            two[1].result()
    assert database.write(lambda connection: 7) == 7


@pytest.mark.parametrize("error", [None, ZeroDivisionError, SystemExit])
def test_what_is_stored_is_answered_whatever_becomes_of_the_next_transaction(
    database_url: str, error: type[BaseException] | None
) -> None:
    database = Database(database_url)

    def until_another_waits(connection: Connection) -> None:
        until(lambda: database.writer.queued == 1)

    def next_one(connection: Connection) -> int:
        if error:
            raise error
        return insert_event(connection)

    with ThreadPoolExecutor(3) as pool:
        with busy_writer(database, queued=2):
            pool.submit(database.write, until_another_waits)
            until(lambda: database.writer.queued == 1)
            stored = pool.submit(database.write, insert_event)
        until(lambda: database.writer.queued == 0)
        following = pool.submit(database.write, next_one)
        assert stored.result(30) == 1
        if error:
            with pytest.raises(error):
                following.result()
        else:
            assert following.result() == 2
    assert database.write(insert_event) == (2 if error else 3)


def test_a_database_that_takes_no_write_is_a_storage_error_until_it_does(tmp_path: Path) -> None:
    folder = tmp_path / "not-there-yet"
    database = Database(f"sqlite:///{folder}/x.db")
    with pytest.raises(StorageError, match="unable to open"):
        database.write(lambda connection: None)
    with pytest.raises(StorageError), database.read():
        pass
    folder.mkdir()
    assert database.write(lambda connection: 7) == 7


def test_a_closed_database_takes_no_more_writes(outbox: Outbox, clock: Clock) -> None:
    outbox.database.close()
    with pytest.raises(StorageError, match="closed"):
        put(outbox, clock)
