"""The schema by migrations, on SQLite and on a real PostgreSQL."""

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import new_sqlite

from bridge.errors import SchemaError, StorageError
from bridge.storage import claims as leases
from bridge.storage import outbox
from bridge.storage.database import Connection, Database
from bridge.storage.schema import VERSION, upgrade


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    url: str = request.getfixturevalue("postgres_server").create(f"empty_{secrets.token_hex(6)}")
    return url


def versions(database: Database) -> list[str]:
    with database.read() as connection:
        rows = connection.execute("SELECT version_num FROM alembic_version")
    return [row["version_num"] for row in rows]


def test_many_that_start_together_make_it_once(empty_url: str) -> None:
    databases = [Database(empty_url) for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda database: database.write(lambda connection: None), databases))
    assert versions(databases[0]) == [VERSION]
    for database in databases:
        database.close()


def test_many_that_open_a_new_file_at_once_wait_for_one_another(tmp_path: Path) -> None:
    for n in range(30):  # without waiting, about one round in twenty failed
        start = threading.Barrier(10)

        def connect(url: str, start: threading.Barrier = start) -> None:
            start.wait(30)
            Connection(url).close()

        with ThreadPoolExecutor(10) as pool:
            list(pool.map(connect, [f"sqlite:///{tmp_path}/{n}.db"] * 10))


def test_the_newest_migration_is_the_version_that_the_code_wants() -> None:
    files = (Path(outbox.__file__).parent / "migrations" / "versions").glob("*.py")
    assert max(file.name for file in files).startswith(f"{VERSION}_")


def test_a_newer_schema_is_refused_and_left_as_it_is(database_url: str) -> None:
    database = Database(database_url)
    newer = "UPDATE alembic_version SET version_num = '9999'"
    database.write(lambda connection: connection.execute(newer))
    older = Database(database_url)
    with pytest.raises(SchemaError, match=f"'9999'.*up to '{VERSION}'.*newer"):
        older.write(lambda connection: None)
    older.close()
    assert versions(database) == ["9999"]
    database.close()


def test_attempts_under_way_when_the_schema_changed_are_interrupted(database_url: str) -> None:
    older = Database(database_url)
    begun = {"bot": "dev", "started_at": 1.0, "ended_at": 13.0, "reason": "", "detail": ""}
    ended = {**begun, "reason": "ok", "errcode": 0}
    older.write(lambda c: c.insert("attempts", [{**begun, "verdict": "", "errcode": None}]))
    older.write(lambda c: c.insert("attempts", [{**ended, "verdict": "sent"}]))
    older.write(lambda c: c.execute("ALTER TABLE bots DROP COLUMN telling"))
    older.write(lambda c: c.execute("UPDATE alembic_version SET version_num = '0001'"))
    older.close()
    newer = Database(database_url)
    with newer.read() as connection:
        rows = connection.execute("SELECT verdict, reason FROM attempts ORDER BY id")
        assert connection.execute("SELECT telling FROM bots") == []
    assert [(r["verdict"], r["reason"]) for r in rows] == [("retry", "interrupted"), ("sent", "ok")]
    assert versions(newer) == [VERSION]
    newer.close()


def test_a_database_that_cannot_be_migrated_says_why(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StorageError, match="brought up to date: file is not a database"):
        upgrade(f"sqlite:///{tmp_path}/x.db")


def test_what_runs_for_every_delivery_uses_its_index(tmp_path: Path) -> None:
    """SQLite ignores a partial index whose condition comes as a parameter."""
    (tmp_path / "plans.db").write_bytes(new_sqlite())
    database = Database(f"sqlite:///{tmp_path}/plans.db")
    values = {"now": 1.0, "name": "dev", "most": 2, "since": 1.0, "held": 0.0, "names": ["dev"]}
    values |= {"limit": 1, "before": 1, "after": ""}
    wanted = {
        outbox._DUE: "deliveries_pending",
        leases._THESE: "deliveries_pending",
        leases._NEXT: "deliveries_pending",
        leases._STANDING: "deliveries_pending",
        leases._BUNDLE: "deliveries_pending",
        outbox._EXPIRING: "deliveries_expiring",
        outbox._HELD_UNTIL: "deliveries_held",
        leases._OLDEST_OF: "attempts_bot",
    }
    with database.read() as connection:
        for statement, index in wanted.items():
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            steps = [row["detail"] for row in plan]
            assert any(index in step for step in steps), statement
            # Whoever wants a few bots must not look at all of them first.
            assert not any("MATERIALIZE" in step or "TEMP B-TREE" in step for step in steps)
    database.close()
