"""The tables, and one writer per process that commits together whatever waits.

SQLite takes one writer at a time, and every commit waits for the disk. So writes are jobs in a
queue, and one thread runs all that wait in one transaction: the wait is shared, nobody sleeps on
a busy database, and a job's result is given out only once it is on disk.
"""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    text,
)
from sqlalchemy.exc import SQLAlchemyError

from bridge.errors import StorageError

T = TypeVar("T")
log = logging.getLogger(__name__)

BUSY_TIMEOUT = 5.0  # seconds that SQLite waits for another process's commit
WRITE_TIMEOUT = 10.0  # seconds after which a caller stops waiting for its write
MAX_BATCH = 200  # jobs in one transaction
_LOCK = 7_291_003  # PostgreSQL's advisory lock for whoever prepares the schema

metadata = MetaData()
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys only


def _text(name: str, default: str = "") -> Column[str]:
    return Column(name, Text, nullable=False, default=default)


def _moment(name: str) -> Column[float]:
    """A moment in epoch seconds; 0 is never."""
    return Column(name, Float(53), nullable=False, default=0.0)


events = Table(
    "events",
    metadata,
    Column("id", _Id, primary_key=True),
    _moment("received_at"),
    _text("type"),
    # What lists and digests show, so that they need not read the payload, which may be large.
    _text("title"),
    _text("device_type"),
    _text("os_version"),
    _text("build_version"),
    _text("link"),
    _text("brief"),  # the beginning of the notes
    _text("payload"),  # JSON
    Column("raw", LargeBinary, nullable=False),
    _text("error"),
    _text("digest"),
    Index("events_digest", "digest", "received_at"),
    Index("events_received_at", "received_at"),
    sqlite_autoincrement=True,
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("event_id", ForeignKey("events.id"), nullable=False, index=True),
    _text("bot"),
    _text("state", "pending"),  # pending, sent, parked, expired
    _text("reason"),
    _text("template"),
    _text("mention"),  # JSON list
    _text("attach"),  # JSON list
    Column("step", Integer, nullable=False, default=0),  # messages already told
    _text("media_id"),  # of the file that is uploaded and not yet sent
    _moment("media_at"),
    Column("tries", Integer, nullable=False, default=0),
    _moment("created_at"),
    _moment("held_until"),  # the end of its quiet hours
    _moment("expires_at"),
    _moment("settled_at"),
    sqlite_autoincrement=True,
)
_pending = deliveries.c.state == "pending"
Index(
    "deliveries_pending",
    deliveries.c.bot,
    deliveries.c.id,
    sqlite_where=_pending,
    postgresql_where=_pending,
)
_held = _pending & (deliveries.c.held_until > 0)
Index(
    "deliveries_held",
    deliveries.c.held_until,
    sqlite_where=_held,
    postgresql_where=_held,
)
Index(
    "deliveries_expiring",
    deliveries.c.expires_at,
    sqlite_where=_pending,
    postgresql_where=_pending,
)

bots = Table(
    "bots",
    metadata,
    Column("name", Text, primary_key=True),
    _text("fingerprint"),  # of its key; a new one means that a stopped bot may work again
    _text("lease"),  # who may send now
    _moment("lease_until"),
    _moment("rest_until"),
    Column("failures", Integer, nullable=False, default=0),  # in a row
    _text("stopped"),  # why nothing can be told through it
    _moment("alarmed_at"),
    Column("untold", Integer, nullable=False, default=0),  # expired, and in no notice yet
    _moment("noticed_at"),
    Column("last_errcode", Integer),
    _text("last_reason"),
    _moment("last_at"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", _Id, primary_key=True),
    _text("bot"),
    _moment("started_at"),
    _moment("ended_at"),  # while it is under way: when its lease ends
    _text("verdict"),  # '' while it is under way
    _text("reason"),
    _text("detail"),
    Column("errcode", Integer),
    Index("attempts_bot", "bot", "ended_at"),
    Index("attempts_ended_at", "ended_at"),
    sqlite_autoincrement=True,
)

attempt_deliveries = Table(
    "attempt_deliveries",
    metadata,
    Column("delivery_id", ForeignKey("deliveries.id"), primary_key=True),
    Column("attempt_id", ForeignKey("attempts.id"), primary_key=True, index=True),
)

Job = Callable[[Connection], T]


class Database:
    """One database, SQLite or PostgreSQL; `prepare` runs once, right after the schema is there."""

    def __init__(self, url: str, prepare: Job[None] = lambda connection: None) -> None:
        self.engine = _engine(url)
        self._prepare = prepare
        self._prepared = False
        self._jobs: queue.SimpleQueue[tuple[Job[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def write(self, job: Job[T]) -> T:
        """Run a job in a transaction, together with others, and return once it is on disk.

        A job may run more than once, and must only touch the connection. Raises StorageError.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise StorageError("the database is closed: the bridge is stopping")
            if not self._thread:
                self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
                self._thread.start()
            self._jobs.put((job, future))
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
            jobs = [entry for entry in batch if entry and entry[1].set_running_or_notify_cancel()]
            if jobs:
                self._commit(jobs)

    def _commit(self, jobs: list[tuple[Job[Any], Future[Any]]]) -> None:
        try:
            with self._begin() as connection:
                results = [job(connection) for job, _ in jobs]
        except Exception as error:  # also a mistake in a job: its caller must hear of it
            if len(jobs) > 1:
                for entry in jobs:
                    self._commit([entry])
                return
            known = isinstance(error, SQLAlchemyError)
            jobs[0][1].set_exception(StorageError(_why(error)) if known else error)
            return
        for (_, future), result in zip(jobs, results, strict=True):
            future.set_result(result)

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            connection = connection.execution_options(writes=True)
            if not self._prepared:
                with connection.begin():
                    if connection.dialect.name == "postgresql":
                        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
                    metadata.create_all(connection)
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
