"""The schema: files applied once, older databases taken over, newer ones refused."""

import secrets
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from outbox_helpers import claim, put, rows
from support import Clock, new_sqlite

from bridge.errors import SchemaError, StorageError
from bridge.model import Bot
from bridge.storage.claims import LEASE
from bridge.storage.database import Database
from bridge.storage.driver import SQL, Connection
from bridge.storage.outbox import Outbox
from bridge.storage.queries import Queries
from bridge.storage.schema import NEWEST

DUMPS = Path(__file__).parent / "before_plain_names"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    url: str = request.getfixturevalue("postgres_server").create(f"empty_{secrets.token_hex(6)}")
    return url


def versions(database: Database) -> list[int]:
    with database.read() as connection:
        rows = connection.execute("SELECT version FROM schema_versions ORDER BY version")
    return [row["version"] for row in rows]


def test_many_that_start_together_make_it_once(empty_url: str) -> None:
    databases = [Database(empty_url) for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda database: database.write(lambda connection: None), databases))
    assert versions(databases[0]) == list(range(1, NEWEST + 1))


def test_many_that_open_a_new_file_at_once_wait_for_one_another(tmp_path: Path) -> None:
    for n in range(30):  # without waiting, about one round in twenty failed
        start = threading.Barrier(10)

        def connect(url: str, start: threading.Barrier = start) -> None:
            start.wait(30)
            Connection(url).close()

        with ThreadPoolExecutor(10) as pool:
            list(pool.map(connect, [f"sqlite:///{tmp_path}/{n}.db"] * 10))


def test_a_newer_schema_is_refused_and_left_as_it_is(empty_url: str) -> None:
    database = Database(empty_url)
    newer = "INSERT INTO schema_versions (version, applied_at) VALUES (9999, 0)"
    database.write(lambda connection: connection.execute(newer))
    older = Database(empty_url)
    with pytest.raises(SchemaError, match=f"version 9999.*up to {NEWEST}.*newer"):
        older.write(lambda connection: None)
    older.close()
    assert versions(database) == [*range(1, NEWEST + 1), 9999]


def test_a_file_that_is_no_database_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is no database" * 100)
    database = Database(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(StorageError, match="file is not a database"):
        database.write(lambda connection: None)


# Databases of the bridge that used Alembic. The dumps were made by its last version: one event
# sent to `default` and refused for `dev`, one that is retried and under way again, an
# undecodable one under way, one that quiet hours delay.


@pytest.fixture
def older_url(empty_url: str) -> str:
    if empty_url.startswith("sqlite"):
        file = sqlite3.connect(empty_url.removeprefix("sqlite:///"))
        file.executescript((DUMPS / "sqlite.sql").read_text(encoding="utf-8"))
        file.close()
    else:
        connection = Connection(empty_url)
        connection.driver.execute((DUMPS / "postgresql.sql").read_text(encoding="utf-8"))
        connection.close()
    return empty_url


@pytest.fixture
def restart(older_url: str, bots: dict[str, Bot], clock: Clock) -> Callable[[], Outbox]:
    clock.now = 1_800_000_010.0
    return lambda: Outbox(
        older_url, bots, rate=18, max_age=86400.0, dedupe=600.0, clock=clock, jitter=lambda: 0.5
    )


def test_an_older_database_is_taken_over_without_loss(
    restart: Callable[[], Outbox], bots: dict[str, Bot], clock: Clock
) -> None:
    outbox = restart()
    queries = Queries(outbox.database, bots)
    event = queries.event(1)
    assert event and event.raw == '{"raw": "中"}'.encode()
    assert event.payload["notes"] == "修复\n崩溃"
    to_default, to_dev = queries.deliveries(1)
    assert (to_default.state, to_dev.state) == ("sent", "parked")
    assert to_default.target.mention == ("wang", "@all")
    assert [attempt.errcode for attempt in to_dev.attempts] == [40058]
    [retried] = queries.deliveries(2)
    assert [attempt.reason for attempt in retried.attempts] == ["read_timeout", ""]
    [under_way] = queries.deliveries(3)
    assert [attempt.verdict for attempt in under_way.attempts] == [""]
    [delayed] = queries.deliveries(4)
    assert delayed.target.not_before > clock()
    assert queries.health().pending == 3


def test_what_an_older_bridge_left_pending_is_sent(
    restart: Callable[[], Outbox], clock: Clock
) -> None:
    outbox = restart()
    assert claim(outbox) == []  # both bots were in a call
    clock.advance(LEASE)
    claimed = {attempt.bot: attempt.deliveries[0].event for attempt in claim(outbox)}
    assert claimed["default"].id == 2
    assert claimed["dev"].type == "undecodable"
    assert [row["reason"] for row in rows(outbox, "attempts")].count("interrupted") == 2
    assert put(outbox, clock, os_version="9") == 5


def test_an_older_bridge_refuses_the_database_that_was_taken_over(
    restart: Callable[[], Outbox],
) -> None:
    outbox = restart()
    outbox.database.open()
    with outbox.database.read() as connection:
        [row] = connection.execute("SELECT version_num FROM alembic_version")
    assert row["version_num"] > "0002"  # which is all that it knows


def test_attempts_under_way_when_schema_2_came_are_interrupted(
    older_url: str, restart: Callable[[], Outbox]
) -> None:
    older = Connection(older_url)
    older.execute("UPDATE attempts SET verdict = '', reason = '' WHERE id = 3")
    older.execute("ALTER TABLE bots DROP COLUMN telling")
    older.execute("UPDATE alembic_version SET version_num = '0001'")
    older.close()
    outbox = restart()
    verdicts = [(row["verdict"], row["reason"]) for row in rows(outbox, "attempts")]
    assert verdicts[-1] == ("retry", "interrupted")


def test_what_runs_for_every_delivery_uses_its_index(tmp_path: Path) -> None:
    """SQLite ignores a partial index whose condition comes as a parameter."""
    (tmp_path / "plans.db").write_bytes(new_sqlite())
    database = Database(f"sqlite:///{tmp_path}/plans.db")
    values = {"now": 1.0, "name": "dev", "most": 2, "since": 1.0, "names": ["dev"], "limit": 1}
    values |= {"before": 1, "rate": 1, "from_not_before": 0.0, "hashes": ["x"]}
    wanted = {
        "due_bots": "deliveries_pending",
        "bot_queues": "deliveries_pending attempts_bot",
        "digest_deliveries": "deliveries_pending",
        "overdue": "deliveries_expiring",
        "recent_events": "events_digest",
    }
    with database.read() as connection:
        for name, indexes in wanted.items():
            plan = connection.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", values)
            steps = [row["detail"] for row in plan]
            for index in indexes.split():
                assert any(index in step for step in steps), (name, steps)
            tables = ("SCAN deliveries", "SCAN attempts")
            assert not any(step.startswith(tables) for step in steps), steps
