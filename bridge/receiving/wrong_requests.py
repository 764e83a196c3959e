"""Requests whose event is lost before it came in: they show in log and metrics."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from bridge import metrics

log = logging.getLogger(__name__)

MINUTE = 60.0  # seconds between two lines of the log about the same kind


class WrongRequests:
    """Counts one kind of wrong request; logs the first at once, then at most one line a minute.

    `also` is called for each of them.
    """

    def __init__(
        self,
        kind: str,
        text: str,
        clock: Callable[[], float] = time.time,
        also: Callable[[], None] = lambda: None,
    ) -> None:
        self._kind, self._text, self._clock, self._also = kind, text, clock, also
        self._lock = threading.Lock()
        self._count = self._logged_count = 0
        self._first_at = 0.0
        self._logged_at = float("-inf")

    def note(self, address: str, why: str = "") -> None:
        """Count one, from this network address; `why` follows the text in the log."""
        metrics.WRONG_REQUESTS.labels(self._kind).inc()
        self._also()
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
