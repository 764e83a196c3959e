"""The connection to the database: one writer per process commits together whatever waits.

SQLite takes one writer at a time, and every commit waits for the disk. So writes are jobs in a
queue, and one thread runs all that wait in one transaction: the wait is shared, nobody sleeps on
a busy database, and a job's result is given out only once it is on disk.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from bridge import schema
from bridge.errors import StorageError

S = TypeVar("S")
T = TypeVar("T")
log = logging.getLogger(__name__)

BUSY_TIMEOUT = 5.0  # seconds that SQLite waits for another process's commit
WRITE_TIMEOUT = 10.0  # seconds after which a caller stops waiting for its write
MAX_BATCH = 200  # jobs in one transaction
CLOCK_EVERY = 60.0  # seconds between two looks at PostgreSQL's clock
CHANNEL = "bridge"  # of PostgreSQL's NOTIFY

Job = Callable[[Connection], T]
Merged = Callable[[Connection, Sequence[S]], Sequence[T]]
_Entry = tuple[Merged[Any, Any], Any, Future[Any]]


def _one_by_one(connection: Connection, jobs: Sequence[Job[Any]]) -> Sequence[Any]:
    return [job(connection) for job in jobs]


class Database:
    """One database, SQLite or PostgreSQL; `prepare` runs once, right after the schema is there."""

    def __init__(self, url: str, prepare: Job[None] = lambda connection: None) -> None:
        self.engine = _engine(url)
        self._prepare = prepare
        self._prepared = False
        self._jobs: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._clock_ahead = 0.0
        self._clock_read_at = float("-inf")

    def write(self, job: Job[T]) -> T:
        """Run a job in a transaction, together with others, and return once it is on disk.

        A job may run more than once, and must only touch the connection. Raises StorageError.
        """
        result: T = self.write_together(_one_by_one, job)
        return result

    def write_together(self, merged: Merged[S, T], item: S) -> T:
        """Write one item by a function that takes all the items that wait for it, in order.

        As `write`, but what many callers write at once costs its statements only once.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise StorageError("the database is closed: the bridge is stopping")
            if not self._thread:
                self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
                self._thread.start()
            self._jobs.put((merged, item, future))
        try:
            return future.result(WRITE_TIMEOUT)
        except TimeoutError:
            future.cancel()
            raise StorageError(f"not written within {WRITE_TIMEOUT:.0f} s") from None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading; raises StorageError."""
        if not self._prepared:
            self.write(lambda connection: None)
        try:
            with self.engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StorageError(_why(error)) from None

    @property
    def is_postgres(self) -> bool:
        """Tell whether other machines may share this database."""
        return self.engine.dialect.name == "postgresql"

    def time(self) -> float:
        """Return the epoch time by the database's clock: leases are between machines."""
        if self.is_postgres and time.monotonic() > self._clock_read_at + CLOCK_EVERY:
            with suppress(SQLAlchemyError), self.engine.connect() as connection:
                began = time.time()
                query = text("SELECT extract(epoch FROM clock_timestamp())")
                there = float(connection.execute(query).scalar_one())
                self._clock_ahead = there - (began + time.time()) / 2
                self._clock_read_at = time.monotonic()
        return time.time() + self._clock_ahead

    def listen(self, heard: Callable[[], None], stopping: threading.Event) -> None:
        """Call `heard` whenever any process has stored something to tell, until `stopping`.

        PostgreSQL only: SQLite's processes look every second. Raises what the driver raises.
        """
        connection = self.engine.raw_connection()
        driver: Any = connection.driver_connection
        connection.detach()
        try:
            driver.autocommit = True
            driver.execute(f"LISTEN {CHANNEL}")
            heard()
            while not stopping.is_set():
                for _ in driver.notifies(timeout=1.0):
                    heard()
        finally:
            driver.close()

    def close(self) -> None:
        """Commit what waits and let go of the database."""
        with self._lock:
            self._closed = True
            if self._thread:
                self._jobs.put(None)
        if self._thread:
            self._thread.join(WRITE_TIMEOUT)
        self.engine.dispose()

    def _run(self) -> None:
        open_ = True
        while open_:
            batch = [self._jobs.get()]
            while len(batch) < MAX_BATCH and not self._jobs.empty():
                batch.append(self._jobs.get())
            open_ = None not in batch
            entries = [
                entry for entry in batch if entry and entry[2].set_running_or_notify_cancel()
            ]
            if entries:
                self._commit(entries)

    def _commit(self, entries: list[_Entry]) -> None:
        together: dict[Merged[Any, Any], list[_Entry]] = {}
        for entry in entries:
            together.setdefault(entry[0], []).append(entry)
        try:
            with self._begin() as connection:
                results = {
                    merged: merged(connection, [item for _, item, _ in group])
                    for merged, group in together.items()
                }
        except Exception as error:  # also a mistake in a job: its caller must hear of it
            if len(entries) > 1:
                for entry in entries:
                    self._commit([entry])
                return
            known = isinstance(error, SQLAlchemyError)
            entries[0][2].set_exception(StorageError(_why(error)) if known else error)
            return
        for merged, group in together.items():
            for (_, _, future), result in zip(group, results[merged], strict=True):
                future.set_result(result)

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            connection = connection.execution_options(writes=True)
            if not self._prepared:
                with connection.begin():
                    schema.upgrade(connection)
                    self._prepare(connection)
                self._prepared = True
            with connection.begin():
                yield connection


def _why(error: BaseException) -> str:
    """Return a database's complaint without the statement and its values."""
    return str(getattr(error, "orig", None) or type(error).__name__).strip().split("\n")[0]


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, pool_size=8, hide_parameters=True)
    arguments = {"timeout": BUSY_TIMEOUT, "check_same_thread": False}
    engine = create_engine(url, connect_args=arguments, pool_size=8, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin below, not where sqlite3 thinks
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A deferred transaction that turns into a writer can fail with "busy" without waiting.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
