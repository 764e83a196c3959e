"""Requests whose event is lost before it came in: they show in log, metrics and console."""

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from bridge import metrics
from bridge.errors import StorageError
from bridge.storage.shared_values import SharedValues

log = logging.getLogger(__name__)

MINUTE = 60.0  # seconds between two lines of the log about the same kind, or two writes
WAIT = 3.0  # seconds for a write: a process that ends must not wait for long
FORGOTTEN = 86400.0  # seconds without a wrong token after which their count begins anew
_WRONG_TOKEN = (
    "a request with a wrong token is refused. If it was Pgyer's, its event is lost: "
    "paste the address anew, as `bridge url` shows it"
)


class WrongRequests:
    """Counts one kind of wrong request; logs the first at once, then at most one line a minute."""

    def __init__(self, kind: str, text: str, clock: Callable[[], float] = time.time) -> None:
        self._kind, self._text, self._clock = kind, text, clock
        self._lock = threading.Lock()
        self._count = self._logged_count = 0
        self._first_at = 0.0
        self._logged_at = float("-inf")

    def note(self, address: str, why: str = "") -> None:
        """Count one, from this network address; `why` follows the text in the log."""
        metrics.WRONG_REQUESTS.labels(self._kind).inc()
        now, text = self._clock(), self._text + _printable(why, 300)
        with self._lock:
            self._count += 1
            self._first_at = self._first_at or now
            if 0 <= now - self._logged_at < MINUTE:
                return
            count, new = self._count, self._count - self._logged_count
            self._logged_at, self._logged_count = now, count
        since = datetime.fromtimestamp(self._first_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        more = f"; {new} such requests since the last line" if new > 1 else ""
        sender = _printable(address, 64) or "?"
        log.warning("%s, from %s%s (%d since %s)", text, sender, more, count, since)


def _printable(text: str, most: int) -> str:
    return "".join(filter(str.isprintable, text))[:most]


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


class WrongTokens(WrongRequests):
    """Also counts over all processes, and keeps the count over restarts.

    It is written at most once a minute, so that no request waits for it. `clock` gives epoch
    seconds; `start` runs a function after some seconds, in a thread.
    """

    def __init__(
        self,
        shared: SharedValues,
        clock: Callable[[], float] = time.time,
        start: Callable[[float, Callable[[], None]], None] = _in_thread,
    ) -> None:
        super().__init__("token", _WRONG_TOKEN, clock)
        self._shared, self._start = shared, start
        self._writing = threading.Lock()
        self._new = WrongTokenCount()  # not written yet
        self._is_started = False
        self._written_at = float("-inf")

    def note(self, address: str, why: str = "") -> None:
        """Count a request."""
        super().note(address, why)
        now = self._clock()
        with self._lock:
            self._new = self._new.plus(WrongTokenCount(1, now, now))
            was_started, self._is_started = self._is_started, True
            ago = now - self._written_at
        if not was_started:
            self._start(MINUTE - ago if 0 <= ago < MINUTE else 0.0, self._write_quietly)

    def total(self) -> WrongTokenCount:
        """Return the count of all processes and times; raises StorageError."""
        with self._writing:
            return _count_of(*self._shared.read("wrong_tokens")).plus(self._new)

    def write(self) -> None:
        """Write what is not written yet; raises StorageError."""
        with self._writing:
            with self._lock:
                new, self._is_started, self._written_at = self._new, False, self._clock()
            if new.count:
                self._shared.change("wrong_tokens", partial(_added, new), WAIT)
            with self._lock:
                left = self._new.count - new.count
                self._new = WrongTokenCount(left, new.last_at, self._new.last_at)

    def _write_quietly(self) -> None:
        with suppress(StorageError):  # it is tried again with the next one
            self.write()


def _count_of(text: str, since: float) -> WrongTokenCount:
    count, last_at = json.loads(text or "[0, 0]")
    return WrongTokenCount(count, since, last_at)


def _added(new: WrongTokenCount, text: str, since: float) -> tuple[str, float]:
    total = _count_of(text, since).plus(new)
    return json.dumps([total.count, total.last_at]), total.since
