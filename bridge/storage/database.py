"""One database for a whole process: its writer, its readers, its clock, and who is woken."""

import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from bridge.errors import StorageError
from bridge.storage import schema
from bridge.storage.driver import (
    MOVED,
    Connection,
    Row,
    driver_error,
    is_postgres,
    one_line,
    steady_time,
)
from bridge.storage.writer import WAIT, Job, Writer

S = TypeVar("S")
T = TypeVar("T")

log = logging.getLogger(__name__)

ANSWER = 8.0  # seconds in which PostgreSQL must have answered a reader
ALIVE = 3.0  # seconds in which it must have answered whether it is there
UPGRADE = 600.0  # the same for bringing the schema up to date
TRIAL_EVERY = 5.0  # seconds for which the last transaction says whether one is possible
TRIAL_WAIT = 5.0  # seconds that a health check waits for one
MIN_FREE = 8 << 20  # bytes on SQLite's disk; an event of the largest size takes some 3 MiB
IDLE_READERS = 4  # connections that are kept for the next reads
CHANNEL = "bridge"  # of PostgreSQL's NOTIFY


class Database:
    """SQLite or PostgreSQL; `prepare` runs right after the schema has been brought up to date.

    It returns lines for the log, which are written once its transaction is committed.
    `writer` is for what many callers write at once. `wakeup` is set when deliveries may have
    become due: by this process, or over PostgreSQL's NOTIFY by another one.
    """

    def __init__(self, url: str, prepare: Job[Sequence[str]] = lambda connection: ()) -> None:
        self.is_postgres = is_postgres(url)  # then other machines may share it
        self.wakeup = threading.Event()
        self._url = url
        self._driver_error = driver_error(url)
        self._prepare = prepare
        self._prepared = False
        self._closed = False
        self.writer = Writer(self._connect_to_write, self._is_alive, self._driver_error)
        self._readers: deque[Connection] = deque()
        self._clock_ahead = time.time() - steady_time()

    def open(self, wait: float = WAIT) -> None:
        """Bring the schema up to date, run `prepare` and write something now, not on first use.

        Raises StorageError where anything cannot be written, or takes longer than `wait` seconds.
        Leaves no connection behind, so that the process may fork.
        """
        self.write(schema.write_trial, wait)
        self.writer.disconnect()
        self._close_readers()
        self._check_space()

    def check(self) -> None:
        """Raise StorageError unless something can be written.

        By the last transaction, and where there was none for a while by one for the purpose.
        """
        if time.monotonic() - self.writer.ended_at > TRIAL_EVERY:
            self.write(schema.write_trial, TRIAL_WAIT)
        elif self.writer.last_error:
            raise StorageError(self.writer.last_error)
        self._check_space()

    def _check_space(self) -> None:
        # A disk that fills up takes a small write now and then until it takes none.
        folder = Path(self._url.removeprefix("sqlite:///")).parent
        with suppress(OSError):
            if not self.is_postgres and (free := shutil.disk_usage(folder).free) < MIN_FREE:
                raise StorageError("the disk is full: %(free)s KiB are left", free=free // 1024)

    def write(self, job: Job[T], wait: float = WAIT) -> T:
        """Run a job in a transaction; see `Writer.write_batch`. Raises StorageError."""
        [result] = self.writer.write_batch(_run_each, [job], wait)
        return result

    def write_and_wake(self, job: Job[T]) -> T:
        """Run a job in a transaction that may make deliveries due. Raises StorageError."""
        result = self.write(job)
        self.wakeup.set()
        return result

    @property
    def exists(self) -> bool:
        """Whether there is a database to ask; SQLite would make an empty file."""
        return self.is_postgres or Path(self._url.removeprefix("sqlite:///")).exists()

    @contextmanager
    def read(self, wait: float = ANSWER) -> Iterator[Connection]:
        """Give a connection for reading, within `wait` seconds; raises StorageError."""
        deadline = time.monotonic() + wait
        connection = self._idle_reader(min(wait, ALIVE))
        if not connection and not self._prepared:
            self.write(lambda connection: None, wait)
        try:
            connection = connection or Connection(self._url)
            try:
                connection.limit(deadline - time.monotonic())
                yield connection
            except BaseException:
                connection.close()
                raise
        except self._driver_error as error:
            raise StorageError(one_line(error)) from None
        if len(self._readers) < IDLE_READERS and not self._closed:
            self._readers.append(connection)
        else:
            connection.close()

    def select(self, sql: str, **values: Any) -> list[Row]:
        """Return the rows of one statement that reads; raises StorageError."""
        with self.read() as connection:
            return connection.execute(sql, values)

    def time(self) -> float:
        """Return the epoch time by the database's clock: leases are between machines."""
        return steady_time() + self._clock_ahead if self.is_postgres else time.time()

    def listen(self, stopping: threading.Event) -> None:
        """Set `wakeup` whenever any process has stored deliveries, until `stopping`.

        PostgreSQL only: SQLite's processes look once a second, and so do those behind a pooler.
        Raises what the driver raises.
        """
        connection = Connection(self._url)
        try:
            connection.limit(ANSWER)  # a pooler may take the connection and never answer
            if connection.driver.is_pooled:
                log.info("PostgreSQL is behind a pooler: new deliveries are looked for each second")
                stopping.wait()
                return
            connection.execute(f"LISTEN {CHANNEL}")
            connection.limit(float("inf"))
            self.wakeup.set()
            while not stopping.is_set():
                for _ in connection.driver.notifies(timeout=1.0):
                    self.wakeup.set()
        finally:
            connection.close()

    def close(self) -> None:
        """Finish the writes under way, and close every connection."""
        self._closed = True
        self.writer.close()
        self._close_readers()

    def _connect_to_write(self) -> Connection:
        self._close_readers()  # SQLite shares a log's index with them, which may be another now
        connection = Connection(self._url)
        try:
            connection.limit(UPGRADE)
            schema.upgrade(connection)
            connection.begin()
            lines = self._prepare(connection)
            connection.commit()
        except BaseException:
            connection.close()
            raise
        for line in lines:
            log.info("%s", line)
        self._prepared = True
        self._is_alive(connection)
        return connection

    def _is_alive(self, connection: Connection) -> bool:
        """Tell whether a connection can be used for a transaction; note the database's clock."""
        is_alive = connection.is_alive()
        if is_alive:
            self._clock_ahead = connection.clock_ahead
        elif self._prepared and not self.is_postgres:
            log.error("%s; what is at its place now is used", MOVED)
            self._prepared = False
        return is_alive

    def _idle_reader(self, wait: float) -> Connection | None:
        with suppress(IndexError):
            connection = self._readers.pop()
            if self.is_postgres:  # SQLite is not asked: its files are looked at
                connection.limit(wait)
            if self._is_alive(connection):
                return connection
            self._close_readers()  # they are no better
        return None

    def _close_readers(self) -> None:
        with suppress(IndexError):
            while True:
                self._readers.pop().close()


def _run_each(connection: Connection, jobs: Sequence[Job[T]]) -> Sequence[T]:
    return [job(connection) for job in jobs]
