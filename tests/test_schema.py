"""The schema by migrations, on SQLite and on a real PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from bridge import outbox
from bridge.database import Database
from bridge.errors import SchemaError
from bridge.schema import VERSION, metadata


def test_the_migrations_make_just_the_tables_of_the_code(database_url: str) -> None:
    database = Database(database_url)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    assert version == VERSION
    database.close()


def test_many_that_start_together_make_it_once(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda database: database.write(lambda connection: None), databases))
    for database in databases:
        database.close()
    with Database(database_url).read() as connection:
        count = connection.execute(text("SELECT count(*) FROM alembic_version")).scalar()
    assert count == 1


def test_a_newer_schema_is_refused_and_left_as_it_is(database_url: str) -> None:
    database = Database(database_url)
    newer = "UPDATE alembic_version SET version_num = '9999'"
    database.write(lambda connection: connection.execute(text(newer)).rowcount)
    database.close()
    older = Database(database_url)
    with pytest.raises(SchemaError, match=f"'9999'.*up to '{VERSION}'.*newer"):
        older.write(lambda connection: None)
    older.close()
    with older.engine.connect() as connection:
        assert inspect(connection).has_table("events")
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    assert version == "9999"
    older.engine.dispose()


def test_what_runs_for_every_delivery_uses_its_index(tmp_path: Path) -> None:
    """SQLite ignores a partial index whose condition comes as a parameter."""
    database = Database(f"sqlite:///{tmp_path}/plans.db")
    values = {"now": 1.0, "name": "dev", "most": 2, "since": 1.0, "held": 0.0}
    wanted = {
        outbox._WAITING: "deliveries_pending",
        outbox._DUE: "deliveries_pending",
        outbox._BUNDLE: "deliveries_pending",
        outbox._EXPIRING: "deliveries_expiring",
        outbox._HELD_UNTIL: "deliveries_held",
        outbox._RECENT: "attempts_bot",
    }
    with database.read() as connection:
        for statement, index in wanted.items():
            text_ = str(statement.compile(dialect=connection.dialect))
            bound = {k: v for k, v in values.items() if f":{k}" in str(statement)}
            made = statement.compile(dialect=connection.dialect).construct_params(bound)
            order = statement.compile(dialect=connection.dialect).positiontup or []
            rows = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {text_}", tuple(made[name] for name in order)
            ).all()
            assert any(index in str(row) for row in rows), (text_, rows)
    database.close()
