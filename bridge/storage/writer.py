"""Group commit: threads that write at the same time share one transaction.

A commit waits for the disk, and SQLite takes one writer at a time. So of the threads that want to
write, one becomes the leader: it runs the queued writes of all in one transaction and commits.
Meanwhile others queue; the first of them leads next.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypeVar

from bridge.errors import StorageError
from bridge.storage.driver import Connection, one_line

S = TypeVar("S")
T = TypeVar("T")

WAIT = 6.0  # seconds after which a queued caller gives up
MAX_BATCH = 200  # queued writes in one transaction

Job = Callable[[Connection], T]
Batch = Callable[[Connection, Sequence[S]], Sequence[T]]


class _Queued:
    """A queued write. Its thread waits until a leader has committed it, or leads itself."""

    def __init__(self, batch: Batch[Any, Any], items: Sequence[Any]) -> None:
        self.batch, self.items = batch, items
        self.results: Sequence[Any] = ()
        # If the leader's thread dies, the waiting caller must see an error, not success.
        self.error: Exception | None = StorageError("the write was interrupted")
        self.leads = False
        # Locked until there is news. A bare lock: an Event costs each thread one more switch.
        self.news = threading.Lock()
        self.news.acquire()


class Writer:
    """Runs writes over one connection; `connect` makes it, `driver_error` is what it raises."""

    def __init__(self, connect: Callable[[], Connection], driver_error: type[Exception]) -> None:
        self._connect = connect
        self._driver_error = driver_error
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self._queue: deque[_Queued] = deque()
        self._has_leader = False
        self._idle = threading.Condition(self._lock)
        self._closed = False

    def write(self, job: Job[T]) -> T:
        """Run one job in a transaction; as `write_batch` otherwise."""
        [result] = self.write_batch(_run_each, [job])
        return result

    def write_batch(self, batch: Batch[S, T], items: Sequence[S]) -> Sequence[T]:
        """Return `batch(connection, items)`, once it is on disk.

        What several callers write by the same `batch` at the same time is one call of it, with
        the items of all; each gets the results of its own. All items of a caller are stored or
        none. A batch that fails is run again for each caller alone, so it must touch nothing but
        the connection: no log line, no metric, no attribute. Raises StorageError.
        """
        queued = _Queued(batch, items)
        with self._lock:
            if self._closed:
                raise StorageError("the database is closed: the bridge is stopping")
            self._queue.append(queued)
            leads = not self._has_leader
            if leads:
                self._has_leader = queued.leads = True
        if not leads:
            in_time = queued.news.acquire(timeout=WAIT)
            with self._lock:
                leads = queued.leads
                if not in_time and not leads:
                    if queued in self._queue:
                        self._queue.remove(queued)
                    raise StorageError(f"not written within {WAIT:.0f} s")
            queued.news.acquire(blocking=False)  # where it was made the leader just now
        if leads:
            self._lead()
        if queued.error:
            raise queued.error
        return queued.results

    @property
    def queued(self) -> int:
        """Return how many writes wait for the leader's commit to end."""
        return len(self._queue)

    def close(self) -> None:
        """Finish the writes under way, and take no more."""
        with self._lock:
            self._closed = True
            self._idle.wait_for(lambda: not self._has_leader, 2 * WAIT)
        self._drop_connection()

    def _lead(self) -> None:
        """Commit what is queued for its threads; then the first of the next queue leads."""
        with self._lock:
            writes = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]
        try:
            self._commit(writes)
        finally:
            with self._lock:
                if self._queue:
                    self._queue[0].leads = True
                    self._queue[0].news.release()
                else:
                    self._has_leader = False
                    self._idle.notify_all()
            for queued in writes:
                queued.news.release()

    def _commit(self, writes: Sequence[_Queued]) -> None:
        """Run these writes in one transaction and give each its results or its error."""
        running = False
        try:
            connection = self._connected()
            connection.begin()
            running = True
            for batch, group in _by_batch(writes).items():
                results = iter(batch(connection, [item for one in group for item in one.items]))
                for queued in group:
                    queued.results = list(islice(results, len(queued.items)))
            running = False
            connection.commit()
            for queued in writes:
                queued.error = None
        except BaseException as error:
            self._drop_connection()
            if not isinstance(error, Exception):
                raise
            if running and len(writes) > 1:
                for queued in writes:  # one of them failed, and the others must not suffer
                    self._commit([queued])
                return
            known = isinstance(error, self._driver_error)
            for queued in writes:
                queued.error = StorageError(one_line(error)) if known else error

    def _connected(self) -> Connection:
        if not self._connection or not self._connection.is_alive():
            self._connection = None
            self._connection = self._connect()
        return self._connection

    def _drop_connection(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None


def _by_batch(writes: Sequence[_Queued]) -> dict[Batch[Any, Any], list[_Queued]]:
    groups: dict[Batch[Any, Any], list[_Queued]] = {}
    for queued in writes:
        groups.setdefault(queued.batch, []).append(queued)
    return groups


def _run_each(connection: Connection, jobs: Sequence[Job[T]]) -> Sequence[T]:
    return [job(connection) for job in jobs]
