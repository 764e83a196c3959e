"""Group commit: threads that write at the same time share one transaction.

A commit waits for the disk, and SQLite takes one writer at a time. So of the threads that want to
write, one becomes the leader: it runs the queued writes of all in one transaction and commits.
Meanwhile others queue; the first of them leads next.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypeVar

from bridge.errors import StorageError
from bridge.storage.driver import Connection, one_line

S = TypeVar("S")
T = TypeVar("T")

WAIT = 9.0  # seconds after which a caller gives up: a request is to wait at most 10
MAX_BATCH = 200  # queued writes in one transaction

Job = Callable[[Connection], T]
Batch = Callable[[Connection, Sequence[S]], Sequence[T]]


class _Queued:
    """A queued write. Its thread waits until a leader has committed it, or leads itself."""

    def __init__(self, batch: Batch[Any, Any], items: Sequence[Any], wait: float) -> None:
        self.batch, self.items = batch, items
        self.deadline = time.monotonic() + wait
        self.results: Sequence[Any] = ()
        # If the leader's thread dies, the waiting caller must see an error, not success.
        self.error: Exception | None = StorageError("the write was interrupted")
        self.leads = False
        # Locked until there is news. A bare lock: an Event costs each thread one more switch.
        self.news = threading.Lock()
        self.news.acquire()

    @property
    def left(self) -> float:
        """Return the seconds that its caller still waits."""
        return self.deadline - time.monotonic()


class Writer:
    """Runs writes over one connection. It has no connection until it is used.

    `connect` makes one; `is_alive` tells whether the last one can still be used; `driver_error` is
    what the driver raises.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        is_alive: Callable[[Connection], bool],
        driver_error: type[Exception],
    ) -> None:
        self._connect = connect
        self._is_alive = is_alive
        self._driver_error = driver_error
        self._connection: Connection | None = None
        self._connecting: _Connecting | None = None
        self._lock = threading.Lock()
        self._queue: deque[_Queued] = deque()
        self._ended: Sequence[_Queued] = ()  # with their results, but not woken yet
        self._has_leader = False
        self._idle = threading.Condition(self._lock)
        self._closed = False
        # How the last transaction ended, and when (monotonic s).
        self.last_error, self.ended_at = "", float("-inf")

    def write_batch(
        self, batch: Batch[S, T], items: Sequence[S], wait: float = WAIT
    ) -> Sequence[T]:
        """Return `batch(connection, items)`, once it is on disk.

        What several callers write by the same `batch` at the same time is one call of it, with
        the items of all; each gets the results of its own. All items of a caller are stored or
        none. A batch that fails is run again for each caller alone, so it must touch nothing but
        the connection: no log line, no metric, no attribute. Raises StorageError, at the latest
        after `wait` seconds; what was being committed just then may be stored all the same.
        """
        queued = _Queued(batch, items, wait)
        with self._lock:
            if self._closed:
                raise StorageError("the database is closed: the bridge is stopping")
            self._queue.append(queued)
            if not self._has_leader:
                self._has_leader = queued.leads = True
                queued.news.release()
        if not queued.news.acquire(timeout=wait):
            with self._lock:
                if not queued.news.acquire(blocking=False):  # not just now either
                    if queued in self._queue:
                        self._queue.remove(queued)
                    raise StorageError("not written within %(wait).0f s", wait=wait)
        if queued.leads:
            self._lead(queued)
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
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connection; the next write makes a new one."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _lead(self, leader: _Queued) -> None:
        """Commit what is queued for its threads; then the first of the next queue leads."""
        with self._lock:
            writes = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]
        try:
            self._commit(writes, leader)
        finally:
            self._wake()
            with self._lock:
                self._ended = writes
                used = self._connection  # PostgreSQL's statements wait for the network anyway
                if not self._queue or not used or used.is_postgres:
                    self._wake()
                if self._queue:
                    self._queue[0].leads = True
                    self._queue[0].news.release()
                else:
                    self._has_leader = False
                    self._idle.notify_all()

    def _wake(self) -> None:
        """Wake the threads whose writes have ended.

        While others queue, that is when the next transaction is about to wait for the disk: its
        statements would have to take turns with these threads, and each turn costs a switch.
        """
        ended, self._ended = self._ended, ()
        for queued in ended:
            queued.news.release()

    def _commit(self, writes: Sequence[_Queued], leader: _Queued, is_first: bool = True) -> None:
        """Run these writes in one transaction and give each its results or its error.

        It takes no longer than the leader, who came first, still waits.
        """
        groups: dict[Batch[Any, Any], list[_Queued]] = {}
        for queued in writes:
            groups.setdefault(queued.batch, []).append(queued)
        running = False
        try:
            connection = self._connected(leader)
            connection.begin()
            running = True
            for batch, group in groups.items():
                results = iter(batch(connection, [item for one in group for item in one.items]))
                for queued in group:
                    queued.results = list(islice(results, len(queued.items)))
            running = False
            self._wake()
            connection.commit()
            for queued in writes:
                queued.error = None
            self.last_error, self.ended_at = "", time.monotonic()
        except BaseException as error:
            # Where SQLite's file is another one by now, nobody finds what was written.
            old = self._connection
            moved = old and not old.is_postgres and not self._is_alive(old)
            self.disconnect()
            if not isinstance(error, Exception):
                raise
            if moved and is_first:
                self._commit(writes, leader, is_first=False)
                return
            if running and len(writes) > 1:
                for queued in writes:  # one of them failed, and the others must not suffer
                    self._commit([queued], leader)
                return
            if isinstance(error, self._driver_error | StorageError):
                self.last_error, self.ended_at = one_line(error), time.monotonic()
            known = isinstance(error, self._driver_error)
            for queued in writes:
                queued.error = StorageError(one_line(error)) if known else error

    def _connected(self, leader: _Queued) -> Connection:
        """Return a connection that can be used. It is made in a thread of its own.

        So nobody waits too long for a name server, or while the schema is brought up to date; the
        next leader gets what is ready later.
        """
        if self._connection:
            self._connection.limit(leader.left)
            # That SQLite's file is another one shows at the commit.
            if not self._connection.is_postgres or self._is_alive(self._connection):
                return self._connection
        self._connection = None
        making = self._connecting = self._connecting or _Connecting(self._connect)
        making.join(max(leader.left, 0.0))
        if making.is_alive():
            raise StorageError("no connection in time")
        self._connecting = None
        if not making.made:
            raise making.error
        self._connection = making.made
        self._connection.limit(leader.left)
        return self._connection


class _Connecting(threading.Thread):
    """Makes a connection."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        super().__init__(name="connect", daemon=True)
        self._connect = connect
        self.made: Connection | None = None
        self.error: BaseException = StorageError("the connection was interrupted")  # by a fork
        self.start()

    def run(self) -> None:
        try:
            self.made = self._connect()
        except BaseException as error:
            self.error = error
