"""How many requests had a wrong token: counted over all processes, and kept over restarts."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from bridge.errors import StorageError
from bridge.storage.database import Database
from bridge.storage.driver import SQL, Connection, Row

PAUSE = 60.0  # seconds between two writes
WAIT = 3.0  # seconds for one: a process that ends must not wait for long
FORGOTTEN = 86400.0  # seconds without any after which the count begins anew


@dataclass(frozen=True)
class WrongTokenCount:
    """So many requests; when (epoch s) the first and the last of them came."""

    count: int = 0
    since: float = 0.0
    last_at: float = 0.0

    def plus(self, later: "WrongTokenCount") -> "WrongTokenCount":
        """Return both together; where there was none for long, only the later ones."""
        if not later.count:
            return self
        if not self.count or later.since - self.last_at > FORGOTTEN:
            return later
        last_at = max(self.last_at, later.last_at)
        return WrongTokenCount(self.count + later.count, min(self.since, later.since), last_at)


def _in_thread(seconds: float, function: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()


class WrongTokens:
    """Counts in memory, and writes at most once in PAUSE seconds, so that no request waits for it.

    `clock` gives epoch seconds; `start` runs a function after some seconds, in a thread.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.time,
        start: Callable[[float, Callable[[], None]], None] = _in_thread,
    ) -> None:
        self._database, self._clock, self._start = database, clock, start
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._new = WrongTokenCount()  # not written yet
        self._is_started = False
        self._written_at = float("-inf")

    def note(self) -> None:
        """Count a request."""
        now = self._clock()
        with self._lock:
            self._new = self._new.plus(WrongTokenCount(1, now, now))
            was_started, self._is_started = self._is_started, True
            ago = now - self._written_at
        if not was_started:
            self._start(PAUSE - ago if 0 <= ago < PAUSE else 0.0, self._write_quietly)

    def total(self) -> WrongTokenCount:
        """Return the count of all processes and times; raises StorageError."""
        with self._writing:
            rows = self._database.select(SQL["wrong_tokens"])
            return (_count_of(rows[0]) if rows else WrongTokenCount()).plus(self._new)

    def write(self) -> None:
        """Write what is not written yet; raises StorageError."""
        with self._writing:
            with self._lock:
                new, self._is_started, self._written_at = self._new, False, self._clock()
            if new.count:
                self._database.write(lambda connection: _add(connection, new), WAIT)
            with self._lock:
                left = self._new.count - new.count
                self._new = WrongTokenCount(left, new.last_at, self._new.last_at)

    def _write_quietly(self) -> None:
        with suppress(StorageError):  # it is tried again with the next one
            self.write()


def _count_of(row: Row) -> WrongTokenCount:
    count, last_at = json.loads(row["value"])
    return WrongTokenCount(count, row["at"], last_at)


def _add(connection: Connection, new: WrongTokenCount) -> None:
    # The row is made or locked first: another process may add to it just now.
    [row] = connection.execute(SQL["lock_wrong_tokens"])
    total = _count_of(row).plus(new)
    values = {"value": json.dumps([total.count, total.last_at]), "at": total.since}
    connection.execute(SQL["set_wrong_tokens"], values)
