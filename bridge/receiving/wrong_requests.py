"""Requests whose event is lost before it came in: they show in log, metrics and console."""

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

    For the console: their `count` in this process, and when (epoch s) the first and the last came.
    """

    def __init__(self, kind: str, text: str, clock: Callable[[], float] = time.time) -> None:
        self._kind, self._text, self._clock = kind, text, clock
        self._lock = threading.Lock()
        self.count = self._logged_count = 0
        self.first_at = self.last_at = 0.0
        self._logged_at = float("-inf")

    def note(self, address: str) -> None:
        """Count one, from this network address."""
        metrics.WRONG_REQUESTS.labels(self._kind).inc()
        now, address = self._clock(), "".join(filter(str.isprintable, address))[:64]
        with self._lock:
            self.count += 1
            self.first_at, self.last_at = self.first_at or now, now
            if 0 <= now - self._logged_at < MINUTE:
                return
            count, new = self.count, self.count - self._logged_count
            self._logged_at, self._logged_count = now, count
        since = datetime.fromtimestamp(self.first_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        more = f"; {new} such requests since the last line" if new > 1 else ""
        log.warning("%s, from %s%s (%d since %s)", self._text, address or "?", more, count, since)
