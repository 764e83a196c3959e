"""A connection to SQLite or PostgreSQL that takes the same SQL for both.

SQL is written once, most of it in `sql/queries.sql`: a value as `:name`, a list as `IN :names`.
"""

import json
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol

BUSY_TIMEOUT = 4.0  # seconds that SQLite waits for another process's commit
ASK_EVERY = 1.0  # seconds for which a connection to PostgreSQL is assumed to be still alive
MOVED = "the database's file was removed or replaced"

_TEXT = (Path(__file__).parent / "sql" / "queries.sql").read_text(encoding="utf-8")
_STATEMENT = re.compile(r"^-- name: (\w+)\n(?:-- .*\n)+([^;]+);", re.MULTILINE)
SQL: dict[str, str] = dict(_STATEMENT.findall(_TEXT))  # the statements by their names

_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)
_LIST = re.compile(r"\bIN :(\w+)")
_VALUE = re.compile(r"(?<!:):(\w+)")


class Row(Protocol):
    """A row of a result, by the names of its columns."""

    def __getitem__(self, name: str, /) -> Any: ...


class Connection:
    """A driver's connection; one thread at a time may use it."""

    def __init__(self, url: str) -> None:
        self.is_postgres = is_postgres(url)
        self.clock_ahead = 0.0  # epoch s by PostgreSQL's clock, less `steady_time`
        self._asked_at = float("-inf")
        self._files: tuple[Path, ...] = ()
        self._timeout = BUSY_TIMEOUT  # s, of SQLite
        if self.is_postgres:
            from bridge.storage import postgres

            self.driver: Any = postgres.connect(url)
        else:
            path = url.removeprefix("sqlite:///")
            self.driver = _sqlite(path)
            self._files = (Path(path), Path(f"{Path(path).resolve()}-wal"))
        self._identity = self._identify()

    def limit(self, seconds: float) -> None:
        """Bound the waiting: for SQLite's lock, or until PostgreSQL has answered everything."""
        if self.is_postgres:
            self.driver.deadline = time.monotonic() + seconds
        else:
            timeout = max(0.0, min(seconds, BUSY_TIMEOUT))
            if timeout != self._timeout:  # mostly it is the longest, as it was
                self.driver.execute(f"PRAGMA busy_timeout = {int(1000 * timeout)}")
                self._timeout = timeout

    def execute(self, sql: str, values: Mapping[str, Any] | None = None) -> list[Row]:
        """Run a statement and return its rows, none where it has no result."""
        text, lists = _translated(sql, self.is_postgres)
        cursor = self.driver.execute(text, _bound(values, lists) or ())
        rows: list[Row] = cursor.fetchall() if cursor.description else []
        return rows

    def execute_many(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement for each of these rows of values: with PostgreSQL in one round trip."""
        text, lists = _translated(sql, self.is_postgres)
        if rows:
            self.driver.cursor().executemany(text, [_bound(values, lists) for values in rows])

    def begin(self) -> None:
        """Begin a transaction that writes."""
        # A deferred transaction that turns into a writer can fail with "busy" without waiting.
        self.driver.execute("BEGIN" if self.is_postgres else "BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit; when this returns, what was written since `begin` is on disk.

        Raises an error of the driver where it is on disk, but in a file that nobody will find.
        """
        self.driver.execute("COMMIT")
        if self._identify() != self._identity:
            raise sqlite3.OperationalError(MOVED)

    def is_alive(self) -> bool:
        """Tell whether this is still the way to the database; if not, it is closed.

        Once in ASK_EVERY seconds PostgreSQL is asked, and its clock is read.
        """
        alive = self._identify() == self._identity
        if self.is_postgres and steady_time() - self._asked_at > ASK_EVERY:
            try:
                self._ask_clock()
            except Exception:  # of whatever kind: a new connection says what is wrong
                alive = False
        if not alive:
            self.close()
        return alive

    def _ask_clock(self) -> None:
        began = steady_time()
        [row] = self.execute("SELECT extract(epoch FROM clock_timestamp()) AS now")
        self._asked_at = steady_time()
        self.clock_ahead = float(row["now"]) - (began + self._asked_at) / 2

    def _identify(self) -> list[tuple[int, int]]:
        """Return which files SQLite's paths lead to; an open one that was removed works on."""
        found = []
        for path in self._files:
            with suppress(OSError):
                status = path.stat()
                found.append((status.st_dev, status.st_ino))
        return found

    def close(self) -> None:
        """Close it; what was not committed is undone."""
        with suppress(Exception):
            self.driver.close()


def is_postgres(url: str) -> bool:
    """Tell a URL of PostgreSQL from one of SQLite."""
    return not url.startswith("sqlite")


def driver_error(url: str) -> type[Exception]:
    """Return the base class of what the driver for this URL raises."""
    if not is_postgres(url):
        return sqlite3.Error
    import psycopg

    return psycopg.Error


def steady_time() -> float:
    """Return seconds that are never set back, and on Linux also pass while the machine sleeps."""
    return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)


def one_line(error: BaseException) -> str:
    """Return a driver's error in one line, without the statement and its values."""
    return (str(error) or type(error).__name__).strip().split("\n")[0]


def _bound(values: Mapping[str, Any] | None, lists: Sequence[str]) -> Mapping[str, Any] | None:
    """Return the values as the driver binds them: SQLite takes a list as JSON."""
    if not lists or not values:
        return values
    return {**values, **{name: json.dumps(values[name]) for name in lists}}


@cache
def _translated(sql: str, postgres: bool) -> tuple[str, Sequence[str]]:
    """Return a statement as the driver wants it, and the names of the lists to pass as JSON."""
    if postgres:
        text = _LIST.sub(r"= ANY(:\1)", sql.replace("%", "%%"))
        return _VALUE.sub(r"%(\1)s", text), ()
    text = _LIST.sub(r"IN (SELECT value FROM json_each(:\1))", sql)
    return text, _LIST.findall(sql)


def _sqlite(path: str) -> sqlite3.Connection:
    folder = Path(path).parent.absolute()
    if not folder.is_dir():  # SQLite would not say which
        raise sqlite3.OperationalError(f"unable to open database file: there is no folder {folder}")
    # Transactions begin where `begin` says, and each connection is one thread's at a time.
    connection = sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.row_factory = sqlite3.Row
    try:
        _use_wal(connection)
        # FULL: a commit returns when it is on disk, which is what a 200 promises.
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("SELECT 1 FROM sqlite_master").fetchall()  # opens the log's file
    except sqlite3.Error:  # locked, or not a database at all
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log where the disk allows one; others may do the same just now."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            # Only here SQLite does not wait by itself for whoever has its lock.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
