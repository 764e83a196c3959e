"""Requests whose event is lost before it came in: they show in log, metrics and console."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from bridge import metrics

log = logging.getLogger(__name__)

MINUTE = 60.0  # seconds between two lines of the log about the same kind


@dataclass(frozen=True)
class Seen:
    """How many there were since the start, and when (epoch s) and from where the last came."""

    count: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    last_from: str = ""


class WrongRequests:
    """Counts one kind of wrong request; logs the first at once, then at most one line a minute."""

    def __init__(self, kind: str, text: str, clock: Callable[[], float] = time.time) -> None:
        self._kind = kind
        self._text = text
        self._clock = clock
        self._lock = threading.Lock()
        self._logged_at = float("-inf")
        self._logged_count = 0
        self.seen = Seen()

    def note(self, address: str) -> None:
        """Count one, from this network address."""
        metrics.WRONG_REQUESTS.labels(self._kind).inc()
        now, address = self._clock(), "".join(filter(str.isprintable, address))[:64]
        with self._lock:
            count, first_at = self.seen.count + 1, self.seen.first_at or now
            self.seen = Seen(count, first_at, now, address)
            if 0 <= now - self._logged_at < MINUTE:
                return
            new = count - self._logged_count
            self._logged_at, self._logged_count = now, count
        since = datetime.fromtimestamp(first_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        more = f"; {new} such requests since the last line" if new > 1 else ""
        log.warning("%s, from %s%s (%d since %s)", self._text, address or "?", more, count, since)
