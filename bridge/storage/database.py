"""The connection to the database: whatever waits in a process is committed together.

SQLite takes one writer at a time, and what it has written must reach the disk. So of the threads
that want to write at once, one runs the jobs of all in one transaction and then waits for the
disk, while the next ones write already: nobody sleeps on a busy database, and a job's result is
given out only once it is on disk.

SQL is written once for SQLite and PostgreSQL: a value as `:name`, a list as `IN :names`.
"""

import json
import os
import re
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from typing import Any, Protocol, TypeVar

from bridge.errors import StorageError
from bridge.storage import schema

S = TypeVar("S")
T = TypeVar("T")

BUSY_TIMEOUT = 5.0  # seconds that SQLite waits for another process's commit
WRITE_TIMEOUT = 10.0  # seconds after which a caller stops waiting for its write
MAX_BATCH = 200  # jobs in one transaction
GATHER = 0.001  # seconds for which a writer waits for others, where there were some before
ROWS = 16  # that one statement inserts
CLOCK_EVERY = 60.0  # seconds between two looks at PostgreSQL's clock
FRESH = 1.0  # seconds for which a connection to PostgreSQL is trusted to be still there
IDLE_READERS = 4  # connections that are kept for whoever reads next
CHANNEL = "bridge"  # of PostgreSQL's NOTIFY
# What libpq is told beyond the URL: a server that has gone must not be waited for without end.
_GONE = {"connect_timeout": 5, "keepalives_idle": 10, "tcp_user_timeout": 10_000}

# Each of our statements has one good plan, by an index. To plan some took longer than to run them,
# and what was planned while a table was small read all of it when it had grown. Where there is no
# index, a plan that is not wanted counts as so dear that PostgreSQL would compile it.
_PLANS = (
    "plan_cache_mode TO force_generic_plan",
    "enable_seqscan TO off",
    "enable_bitmapscan TO off",
    "jit TO off",
)

_sync = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter

_LIST = re.compile(r"\bIN :(\w+)")
_ASKS = re.compile(r"\s*(SELECT|WITH|EXPLAIN)\b|.*\bRETURNING\b", re.DOTALL)
_VALUE = re.compile(r"(?<!:):(\w+)")


class Record(Protocol):
    """A row of a result, by the names of its columns."""

    def __getitem__(self, name: str, /) -> Any: ...


class Connection:
    """A driver's connection to SQLite or PostgreSQL, which takes the same SQL for both."""

    def __init__(self, url: str) -> None:
        self.is_postgres = not url.startswith("sqlite")
        self.driver: Any = _postgres(url) if self.is_postgres else _sqlite(url)
        self._used_at = time.monotonic()
        self._pipeline = ExitStack()  # of PostgreSQL's statements, between `begin` and `commit`

    def execute(self, sql: str, values: Mapping[str, Any] | None = None) -> list[Record]:
        """Run a statement and return its rows, none where it is not one that has any."""
        text, lists = _translated(sql, self.is_postgres)
        if lists and values:
            values = {**values, **{name: json.dumps(values[name]) for name in lists}}
        cursor = self.driver.execute(text, values or ())
        rows: list[Record] = cursor.fetchall() if _ASKS.match(sql) else []
        return rows

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows that all have the same columns."""
        if not rows:
            return
        columns, mark = tuple(rows[0]), "%s" if self.is_postgres else "?"
        # Several rows in one statement: at each step of one SQLite lets another thread run.
        for start in range(0, len(rows), ROWS):
            some = rows[start : start + ROWS]
            values = [value for row in some for value in row.values()]
            self.driver.execute(_insertion(table, columns, len(some), mark), values)

    def begin(self, *, durable: bool) -> None:
        """Begin to write; where it need not be durable, PostgreSQL does not wait for the disk."""
        if self.is_postgres:
            # What does not ask for anything is sent on without waiting for an answer.
            self._pipeline.enter_context(self.driver.pipeline())
            self.driver.execute("BEGIN")
            if not durable:
                self.driver.execute("SET LOCAL synchronous_commit TO OFF")
            return
        # A deferred transaction that turns into a writer can fail with "busy" without waiting.
        self.driver.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make what was written since `begin` last; raises what a statement before ran into."""
        self.driver.execute("COMMIT")
        self._pipeline.close()
        self._used_at = time.monotonic()

    @property
    def is_refused(self) -> bool:
        """Tell whether an error was PostgreSQL's answer: then nothing was committed."""
        return self.is_postgres and not self.driver.broken

    def lives(self) -> bool:
        """Tell whether the server is still at the other end."""
        if self.is_postgres and time.monotonic() - self._used_at > FRESH:
            try:
                self.driver.execute("SELECT 1")
            except Exception:  # of whatever kind: a new connection says what is wrong
                self.close()
                return False
        self._used_at = time.monotonic()
        return True

    def close(self) -> None:
        """Let go; what was not committed is undone."""
        for part in (self._pipeline, self.driver):
            with suppress(Exception):
                part.close()


Job = Callable[[Connection], T]
Merged = Callable[[Connection, Sequence[S]], Sequence[T]]


class _Entry:
    """What one thread waits for: its job written, or its turn to write what waits."""

    def __init__(self, merged: Merged[Any, Any], item: Any, durable: bool) -> None:
        self.merged, self.item, self.durable = merged, item, durable
        self.result: Any = None
        # Until it is on disk: whoever waits must not take a leader's sudden end for a success.
        self.error: Exception | None = StorageError("the write was cut off")
        self.leads = False
        self.woken = threading.Lock()  # held until there is news
        self.woken.acquire()


def _one_by_one(connection: Connection, jobs: Sequence[Job[Any]]) -> Sequence[Any]:
    return [job(connection) for job in jobs]


class Database:
    """One database, SQLite or PostgreSQL; `prepare` runs once, right after the schema is there."""

    def __init__(self, url: str, prepare: Job[None] = lambda connection: None) -> None:
        self.is_postgres = not url.startswith("sqlite")  # other machines may share it
        self._url = url
        self._errors: tuple[type[Exception], ...] = (sqlite3.Error,)
        if self.is_postgres:
            import psycopg

            self._errors = (psycopg.Error,)
        self._prepare = prepare
        self._prepared = False
        self._lock = threading.Lock()
        self._waiting: deque[_Entry] = deque()
        self._writing = False  # whether a thread leads
        self._crowd = 0  # how many wrote together the last time
        self._idle = threading.Condition(self._lock)
        self._closed = False
        self._writer: Connection | None = None
        self._readers: deque[Connection] = deque()
        self._clock_ahead = 0.0
        self._clock_read_at = float("-inf")

    def write(self, job: Job[T], *, durable: bool = True) -> T:
        """Run a job in a transaction, together with others, and return once it is on disk.

        A job may run more than once, and must only touch the connection. What is not `durable`
        may be lost with the machine until the next `sync`. Raises StorageError.
        """
        result: T = self.write_together(_one_by_one, job, durable=durable)
        return result

    def write_together(self, merged: Merged[S, T], item: S, *, durable: bool = True) -> T:
        """Write one item by a function that takes all the items that wait for it, in order.

        As `write`, but what many callers write at once costs its statements only once.
        """
        entry = _Entry(merged, item, durable)
        with self._lock:
            if self._closed:
                raise StorageError("the database is closed: the bridge is stopping")
            self._waiting.append(entry)
            if not self._writing:
                self._writing = entry.leads = True
        if not entry.leads and not entry.woken.acquire(timeout=WRITE_TIMEOUT):
            with self._lock:
                if not entry.leads:
                    if entry in self._waiting:
                        self._waiting.remove(entry)
                    raise StorageError(f"not written within {WRITE_TIMEOUT:.0f} s")
        if entry.leads:
            self._lead()
        if entry.error:
            raise entry.error
        result: T = entry.result
        return result

    def sync(self) -> None:
        """Return once all that was committed is on disk; raises StorageError.

        SQLite's log holds the commits, and `synchronous=NORMAL` leaves it to us to sync it; what
        PostgreSQL has committed is on disk. Where there is no log, all is in the database.
        """
        if self.is_postgres:
            return
        try:
            with suppress(FileNotFoundError):
                log = os.open(f"{_path(self._url)}-wal", os.O_RDONLY)
                try:
                    _sync(log)
                finally:
                    os.close(log)
        except OSError as error:
            raise StorageError(f"what was written may not be on disk: {error}") from None

    def checkpoint(self) -> None:
        """Move what SQLite's log holds into the database, while others may write.

        Otherwise the commit that fills the log does so, and everybody waits for it.
        """
        if not self.is_postgres:
            with self.read() as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading; raises StorageError."""
        if not self._prepared:
            self.write(lambda connection: None)
        with self._reading() as connection:
            yield connection

    def time(self) -> float:
        """Return the epoch time by the database's clock: leases are between machines."""
        if self.is_postgres and time.monotonic() > self._clock_read_at + CLOCK_EVERY:
            with suppress(StorageError), self._reading() as connection:
                began = time.time()
                [row] = connection.execute("SELECT extract(epoch FROM clock_timestamp()) AS now")
                self._clock_ahead = float(row["now"]) - (began + time.time()) / 2
                self._clock_read_at = time.monotonic()
        return time.time() + self._clock_ahead

    def listen(self, heard: Callable[[], None], stopping: threading.Event) -> None:
        """Call `heard` whenever any process has stored something to tell, until `stopping`.

        PostgreSQL only: SQLite's processes look every second. Raises what the driver raises.
        """
        connection = Connection(self._url)
        try:
            connection.execute(f"LISTEN {CHANNEL}")
            heard()
            while not stopping.is_set():
                for _ in connection.driver.notifies(timeout=1.0):
                    heard()
        finally:
            connection.close()

    def close(self) -> None:
        """Commit what waits and let go of the database."""
        with self._lock:
            self._closed = True
            self._idle.wait_for(lambda: not self._writing, WRITE_TIMEOUT)
        for connection in [self._writer, *self._readers]:
            if connection:
                connection.close()
        self._writer = None
        self._readers.clear()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            connection = self._reader()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
        except self._errors as error:
            raise StorageError(_why(error)) from None
        if len(self._readers) < IDLE_READERS and not self._closed:
            self._readers.append(connection)
        else:
            connection.close()

    def _reader(self) -> Connection:
        with suppress(IndexError):
            while True:
                connection = self._readers.pop()
                if connection.lives():
                    return connection
        return Connection(self._url)

    def _lead(self) -> None:
        """Write what waits, for its threads; then the next thread that waits leads."""
        if self._crowd > 1:
            time.sleep(GATHER)
        with self._lock:
            self._crowd = min(len(self._waiting), MAX_BATCH)
            batch = [self._waiting.popleft() for _ in range(self._crowd)]
        try:
            written = self._commit(batch)
            error: StorageError | None = None
            try:
                if any(entry.durable for entry in written):
                    # Whoever comes meanwhile writes together: one after the other would cost more.
                    self.sync()
            except StorageError as failed:
                error = failed
            for entry in written:
                entry.error = error
        finally:
            with self._lock:
                if self._waiting:
                    self._waiting[0].leads = True
                    self._waiting[0].woken.release()
                else:
                    self._writing = False
                    self._idle.notify_all()
            for entry in batch:
                entry.woken.release()

    def _commit(self, entries: Sequence[_Entry]) -> Sequence[_Entry]:
        """Commit the jobs of these entries; return those for which it went well."""
        together: dict[Merged[Any, Any], list[_Entry]] = {}
        for entry in entries:
            together.setdefault(entry.merged, []).append(entry)
        undone = False  # whether it is certain that nothing of it was committed
        try:
            connection = self._begin(durable=any(entry.durable for entry in entries))
            undone = True
            for merged, group in together.items():
                results = merged(connection, [entry.item for entry in group])
                for entry, result in zip(group, results, strict=True):
                    entry.result = result
            undone = False  # without an answer nobody knows whether a commit was made
            connection.commit()
            return entries
        except BaseException as error:  # also a mistake in a job: its caller must hear of it
            if self._writer:
                undone = undone or self._writer.is_refused
                self._writer.close()
                self._writer = None
            if not isinstance(error, Exception):
                raise
            if undone and len(entries) > 1:
                return [one for entry in entries for one in self._commit([entry])]
            known = isinstance(error, self._errors)
            for entry in entries:
                entry.error = StorageError(_why(error)) if known else error
            return []

    def _begin(self, *, durable: bool) -> Connection:
        if not self._writer or not self._writer.lives():
            self._writer = Connection(self._url)
        connection = self._writer
        if not self._prepared:
            if not schema.is_current(_version(connection)):
                schema.upgrade(self._url)
            connection.begin(durable=True)
            self._prepare(connection)
            connection.commit()
            self._prepared = True
        connection.begin(durable=durable)
        return connection


def _version(connection: Connection) -> str:
    """Return the version of the schema in a database, '' where there is none."""
    places = ("sqlite_master", "name"), ("pg_catalog.pg_tables", "tablename")
    catalog, column = places[connection.is_postgres]
    if not connection.execute(f"SELECT 1 FROM {catalog} WHERE {column} = 'alembic_version'"):
        return ""
    rows = connection.execute("SELECT version_num FROM alembic_version")
    return str(rows[0]["version_num"]) if rows else ""


@cache
def _translated(sql: str, is_postgres: bool) -> tuple[str, tuple[str, ...]]:
    """Return a statement as the driver wants it, and the values that it wants as JSON."""
    if is_postgres:
        text = _LIST.sub(r"= ANY(:\1)", sql.replace("%", "%%"))
        return _VALUE.sub(r"%(\1)s", text), ()
    return _LIST.sub(r"IN (SELECT value FROM json_each(:\1))", sql), tuple(_LIST.findall(sql))


@cache
def _insertion(table: str, columns: tuple[str, ...], rows: int, mark: str) -> str:
    row = f"({', '.join([mark] * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}"


def _path(url: str) -> str:
    return url.removeprefix("sqlite:///")


def _sqlite(url: str) -> sqlite3.Connection:
    # Transactions begin where `begin` says, and each connection is one thread's at a time.
    connection = sqlite3.connect(
        _path(url), timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    try:
        # Without a log, as on some network's disks, a commit must wait for the disk by itself.
        synchronous = "NORMAL" if _use_wal(connection) else "FULL"
        for pragma in (f"synchronous={synchronous}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:  # locked, or no database at all
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> bool:
    """Switch to a write-ahead log; tells whether that could be done.

    Others that have just started may be doing the same.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            return bool(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] == "wal")
        except sqlite3.OperationalError as error:
            # Only here SQLite does not wait by itself for whoever holds its lock.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _postgres(url: str) -> Any:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.rows import dict_row

    options: dict[str, Any] = {**_GONE, **conninfo_to_dict(url)}
    connection = psycopg.connect(**options, autocommit=True, row_factory=dict_row)
    for setting in _PLANS:
        connection.execute(f"SET {setting}")
    return connection


def _why(error: BaseException) -> str:
    """Return a driver's complaint in one line, which holds no statement and none of its values."""
    return (str(error) or type(error).__name__).strip().split("\n")[0]
