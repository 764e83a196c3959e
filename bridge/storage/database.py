"""One database for a whole process: its writer, its readers, its clock, and who is woken."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from bridge.errors import StorageError
from bridge.storage import schema
from bridge.storage.driver import Connection, driver_error, is_postgres, one_line
from bridge.storage.writer import Batch, Job, Writer

S = TypeVar("S")
T = TypeVar("T")

log = logging.getLogger(__name__)

CLOCK_EVERY = 60.0  # seconds between two looks at PostgreSQL's clock
IDLE_READERS = 4  # connections that are kept for the next reads
CHANNEL = "bridge"  # of PostgreSQL's NOTIFY


class Database:
    """SQLite or PostgreSQL; `prepare` runs once, right after the schema is up to date.

    It returns lines for the log, which are written once its transaction is committed.
    `wakeup` is set when deliveries may have become due: by this process, or over PostgreSQL's
    NOTIFY by another one.
    """

    def __init__(self, url: str, prepare: Job[Sequence[str]] = lambda connection: ()) -> None:
        self.is_postgres = is_postgres(url)  # then other machines may share it
        self.wakeup = threading.Event()
        self._url = url
        self._driver_error = driver_error(url)
        self._prepare = prepare
        self._prepared = False
        self._closed = False
        self._writer = Writer(self._connect_to_write, self._driver_error)
        self._readers: deque[Connection] = deque()
        self._clock_ahead = 0.0
        self._clock_read_at = float("-inf")

    def write(self, job: Job[T]) -> T:
        """Run a job in a transaction; see `Writer.write_batch`. Raises StorageError."""
        return self._writer.write(job)

    def write_batch(self, batch: Batch[S, T], items: Sequence[S]) -> Sequence[T]:
        """Write items together with those of other callers; see `Writer.write_batch`."""
        return self._writer.write_batch(batch, items)

    @property
    def queued(self) -> int:
        """Return how many writes wait for the one that is being committed."""
        return self._writer.queued

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

    def listen(self, stopping: threading.Event) -> None:
        """Set `wakeup` whenever any process has stored deliveries, until `stopping`.

        PostgreSQL only: SQLite's processes look once a second. Raises what the driver raises.
        """
        connection = Connection(self._url)
        try:
            connection.execute(f"LISTEN {CHANNEL}")
            self.wakeup.set()
            while not stopping.is_set():
                for _ in connection.driver.notifies(timeout=1.0):
                    self.wakeup.set()
        finally:
            connection.close()

    def close(self) -> None:
        """Finish the writes under way, and close every connection."""
        self._closed = True
        self._writer.close()
        while self._readers:
            self._readers.pop().close()

    def _connect_to_write(self) -> Connection:
        connection = Connection(self._url)
        try:
            if not self._prepared:
                schema.upgrade(connection)
                connection.begin()
                lines = self._prepare(connection)
                connection.commit()
                for line in lines:
                    log.info("%s", line)
                self._prepared = True
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            connection = self._reader()
            try:
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

    def _reader(self) -> Connection:
        with suppress(IndexError):
            while True:
                connection = self._readers.pop()
                if connection.is_alive():
                    return connection
        return Connection(self._url)
