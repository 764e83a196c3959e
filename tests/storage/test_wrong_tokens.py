"""Requests with a wrong token are counted over all processes, and the count outlives them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import Clock, until

from bridge.errors import StorageError
from bridge.storage.database import Database
from bridge.storage.wrong_tokens import PAUSE, WrongTokenCount, WrongTokens


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
    return WrongTokens(database).total()


def test_without_any_the_count_is_zero(database: Database) -> None:
    assert stored(database) == WrongTokenCount(0, 0.0, 0.0)


def test_many_cost_one_write_a_minute(database: Database, clock: Clock, later: Later) -> None:
    tokens = WrongTokens(database, clock, later)
    began = clock()
    for _ in range(100):
        tokens.note()
    assert later.run() == 0.0
    assert stored(database) == WrongTokenCount(100, began, began)
    clock.advance(20)
    for _ in range(50):
        tokens.note()
    assert later.run() == PAUSE - 20
    clock.advance(PAUSE)
    tokens.note()
    assert later.run() == 0.0
    assert stored(database) == WrongTokenCount(151, began, clock())


def test_what_is_not_written_yet_counts_in_its_own_process(
    database: Database, clock: Clock, later: Later
) -> None:
    tokens = WrongTokens(database, clock, later)
    tokens.note()
    later.run()
    clock.advance(5)
    tokens.note()
    assert tokens.total() == WrongTokenCount(2, clock() - 5, clock())
    assert stored(database).count == 1
    tokens.write()  # as at the end of a process
    assert stored(database) == tokens.total()


def test_processes_count_together(database_url: str, clock: Clock) -> None:
    databases = [Database(database_url) for _ in range(4)]
    processes = [WrongTokens(database, clock, Later()) for database in databases]

    def work(tokens: WrongTokens) -> None:
        for _ in range(5):
            tokens.note()
            tokens.write()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, processes))
    assert stored(databases[0]).count == 20


def test_the_first_and_the_last_are_those_of_all_processes(
    database: Database, clock: Clock
) -> None:
    late, early = WrongTokens(database, clock, Later()), WrongTokens(database, clock, Later())
    began = clock()
    early.note()
    clock.advance(7)
    late.note()
    late.write()
    early.write()
    assert stored(database) == WrongTokenCount(2, began, began + 7)


def test_after_a_day_without_any_the_count_begins_anew(
    database: Database, clock: Clock, later: Later
) -> None:
    tokens = WrongTokens(database, clock, later)
    tokens.note()
    later.run()
    clock.advance(86_401)
    tokens.note()
    assert tokens.total() == WrongTokenCount(1, clock(), clock())
    later.run()
    assert stored(database) == WrongTokenCount(1, clock(), clock())


def test_what_cannot_be_written_is_written_with_the_next_one(
    database: Database, clock: Clock, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = WrongTokens(database, clock, later)
    tokens.note()

    def fail(*_: object) -> None:
        raise StorageError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(database, "write", fail)
        later.run()
        with pytest.raises(StorageError):
            tokens.write()
    assert tokens.total().count == 1
    clock.advance(PAUSE)
    tokens.note()
    later.run()
    assert stored(database).count == 2


def test_a_request_does_not_wait_for_the_write(database: Database) -> None:
    tokens = WrongTokens(database)
    with tokens._writing:  # as while the database does not answer
        tokens.note()
        tokens.note()
    until(lambda: stored(database).count == 2)
