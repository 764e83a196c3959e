"""The schema: numbered `.sql` files, each applied once; `schema_versions` says which."""

import time
from pathlib import Path

from bridge.errors import SchemaError
from bridge.storage.driver import Connection

_FILES = sorted((Path(__file__).parent / "sql").glob("[0-9]*.sql"))
NEWEST = int(_FILES[-1].name[:4])
_LOCK = 7_291_003  # PostgreSQL's advisory lock for whoever brings the schema up to date
# The files are written for SQLite; this is the only type that PostgreSQL calls otherwise.
_KEY, _POSTGRES_KEY = "INTEGER PRIMARY KEY AUTOINCREMENT", "BIGSERIAL PRIMARY KEY"
_APPLIED = """
    CREATE TABLE IF NOT EXISTS schema_versions (
        version INTEGER NOT NULL PRIMARY KEY, applied_at DOUBLE PRECISION NOT NULL)"""
# Row 0 is no version but the last trial; its value must change, or SQLite writes nothing.
_TRIAL = """
    INSERT INTO schema_versions (version, applied_at) VALUES (0, :now)
    ON CONFLICT (version) DO UPDATE SET applied_at = :now"""
_LOG = "INSERT INTO schema_versions (version, applied_at) VALUES (:version, :now)"


def upgrade(connection: Connection) -> None:
    """Apply the files that are missing, in one transaction.

    Of many processes that start together one does it, and the others wait for its lock. Raises
    SchemaError where the schema is newer than this code, and the driver's errors.
    """
    if _version(connection) == NEWEST:
        return
    connection.begin()
    if connection.is_postgres:
        connection.execute("SELECT pg_advisory_xact_lock(:lock)", {"lock": _LOCK})
    found = _version(connection)  # once more: another process may just have done it
    connection.execute(_APPLIED)
    for version, file in enumerate(_FILES[found:], found + 1):
        _run(connection, file.read_text(encoding="utf-8"))
        connection.execute(_LOG, {"version": version, "now": time.time()})
    if _has_table(connection, "alembic_version"):
        # The bridge that used Alembic refuses a newer schema plainly, should it be started again.
        connection.execute(f"UPDATE alembic_version SET version_num = '{NEWEST:04}'")
    connection.commit()


def write_trial(connection: Connection) -> None:
    """Write something, to find out whether that is possible."""
    connection.execute(_TRIAL, {"now": time.time()})


def _version(connection: Connection) -> int:
    """Return the number of the last file applied, 0 for an empty database."""
    query = "SELECT max(version) AS version FROM schema_versions"
    if not _has_table(connection, "schema_versions"):
        # Until schema 0002 Alembic kept the version, by the same numbers.
        if not _has_table(connection, "alembic_version"):
            return 0
        query = "SELECT max(version_num) AS version FROM alembic_version"
    [row] = connection.execute(query)
    version = int(row["version"] or 0)
    if version > NEWEST:
        raise SchemaError(
            "its schema is version %(found)s, and this version of the bridge knows up to "
            "%(known)s: deploy the version that wrote it, or a newer one",
            found=version,
            known=NEWEST,
        )
    return version


def _has_table(connection: Connection, name: str) -> bool:
    """Tell whether there is a table of this name."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name"
    if connection.is_postgres:
        # Not to_regclass: it may answer from a cache that does not know another's commit yet.
        query = "SELECT 1 FROM pg_class WHERE relname = :name AND pg_table_is_visible(oid)"
    return bool(connection.execute(query, {"name": name}))


def _run(connection: Connection, text: str) -> None:
    """Run the statements of a file, one at a time: so all stay in one transaction."""
    if connection.is_postgres:
        text = text.replace(_KEY, _POSTGRES_KEY)
    for statement in text.split(";\n"):
        if statement.strip():
            connection.execute(statement)
