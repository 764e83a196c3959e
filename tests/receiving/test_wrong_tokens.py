"""Requests with a wrong token are counted over all processes, and the count outlives them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import Clock, until

from bridge.errors import StorageError
from bridge.receiving.wrong_requests import MINUTE, WrongTokenCount, WrongTokens
from bridge.storage.database import Database
from bridge.storage.shared_values import SharedValues


class Later:
    """Keeps what is to run later, with the seconds until then."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, seconds: float, function: Callable[[], None]) -> None:
        self.waiting.append((seconds, function))

    def run(self) -> float:
        """Run the only one; return how long it was to wait."""
        [(seconds, function)] = self.waiting
        self.waiting.clear()
        function()
        return seconds


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


@pytest.fixture
def later() -> Later:
    return Later()


def stored(database: Database) -> WrongTokenCount:
    """Return what a process that has just begun finds."""
    return WrongTokens(SharedValues(database)).total()


def test_without_any_the_count_is_zero(database: Database) -> None:
    assert stored(database) == WrongTokenCount(0, 0.0, 0.0)


def test_many_cost_one_write_a_minute(database: Database, clock: Clock, later: Later) -> None:
    tokens = WrongTokens(SharedValues(database), clock, later)
    began = clock()
    for _ in range(100):
        tokens.note("10.0.0.1")
    assert later.run() == 0.0
    assert stored(database) == WrongTokenCount(100, began, began)
    clock.advance(20)
    for _ in range(50):
        tokens.note("10.0.0.1")
    assert later.run() == MINUTE - 20
    clock.advance(MINUTE)
    tokens.note("10.0.0.1")
    assert later.run() == 0.0
    assert stored(database) == WrongTokenCount(151, began, clock())


def test_what_is_not_written_yet_counts_in_its_own_process(
    database: Database, clock: Clock, later: Later
) -> None:
    tokens = WrongTokens(SharedValues(database), clock, later)
    tokens.note("10.0.0.1")
    later.run()
    clock.advance(5)
    tokens.note("10.0.0.1")
    assert tokens.total() == WrongTokenCount(2, clock() - 5, clock())
    assert stored(database).count == 1
    tokens.write()  # as at the end of a process
    assert stored(database) == tokens.total()


def test_processes_count_together(database_url: str, clock: Clock) -> None:
    databases = [Database(database_url) for _ in range(4)]
    processes = [WrongTokens(SharedValues(database), clock, Later()) for database in databases]

    def work(tokens: WrongTokens) -> None:
        for _ in range(5):
            tokens.note("10.0.0.1")
            tokens.write()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, processes))
    assert stored(databases[0]).count == 20


def test_the_first_and_the_last_are_those_of_all_processes(
    database: Database, clock: Clock
) -> None:
    late, early = (WrongTokens(SharedValues(database), clock, Later()) for _ in range(2))
    began = clock()
    early.note("10.0.0.1")
    clock.advance(7)
    late.note("10.0.0.2")
    late.write()
    early.write()
    assert stored(database) == WrongTokenCount(2, began, began + 7)


def test_after_a_day_without_any_the_count_begins_anew(
    database: Database, clock: Clock, later: Later
) -> None:
    tokens = WrongTokens(SharedValues(database), clock, later)
    tokens.note("10.0.0.1")
    later.run()
    clock.advance(86_401)
    tokens.note("10.0.0.1")
    assert tokens.total() == WrongTokenCount(1, clock(), clock())
    later.run()
    assert stored(database) == WrongTokenCount(1, clock(), clock())


def test_what_cannot_be_written_is_written_with_the_next_one(
    database: Database, clock: Clock, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = WrongTokens(SharedValues(database), clock, later)
    tokens.note("10.0.0.1")

    def fail(*_: object) -> None:
        raise StorageError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(database, "write", fail)
        later.run()
        with pytest.raises(StorageError):
            tokens.write()
    assert tokens.total().count == 1
    clock.advance(MINUTE)
    tokens.note("10.0.0.1")
    later.run()
    assert stored(database).count == 2


def test_a_request_does_not_wait_for_the_write(database: Database) -> None:
    tokens = WrongTokens(SharedValues(database))
    with tokens._writing:  # as while the database does not answer
        tokens.note("10.0.0.1")
        tokens.note("10.0.0.1")
    until(lambda: stored(database).count == 2)
