"""The heartbeat: a monitor outside is called while all is well, and notices when no call comes.

It is the one alarm that works when the only robot, or the bridge itself, is dead.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import requests
from requests.utils import default_headers

from bridge import metrics
from bridge.delivery.deadline import Caller
from bridge.errors import StorageError
from bridge.model import Secret
from bridge.storage.shared_values import SharedValues

log = logging.getLogger(__name__)

EVERY = 60.0  # seconds between two calls, over all processes
SOON = 10.0  # seconds after another process's call for which a new process makes none
LOOK = 5.0  # seconds between two looks whether a call is due
DEADLINE = 10.0  # seconds for a whole call
LOG_EVERY = 3600.0  # seconds between two warnings


class Heartbeat:
    """Calls `url`, or what says that something is wrong, from a thread of its own.

    `problems` returns what is wrong, a line each. `clock` gives the database's epoch seconds.
    """

    def __init__(
        self,
        url: Secret,
        problems: Callable[[], list[str]],
        shared: SharedValues,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url.reveal()
        self._problems = problems
        self._shared = shared
        self._clock = clock
        self._caller = Caller()
        self._before_start = clock() - 0.001
        self._alone_at = self._warned_at = float("-inf")
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None  # a fork would spoil it

    def start(self) -> None:
        """Begin to call; after a fork."""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Make no further call; one that is under way does not hold up the end."""
        self._stopping.set()
        if self._thread:
            self._thread.join(1.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.beat()
            except Exception:  # a bug must not end the loop
                log.exception("a bug in the heartbeat; next try in %.0f s", LOOK)
            self._stopping.wait(LOOK)

    def beat(self) -> None:
        """Call if it is this process's turn."""
        if self._is_due():
            self.call(self._problems())

    def call(self, problems: list[str]) -> str:
        """Call once; return why that failed, '' if it did not."""
        url = self._url if not problems else failing_url(self._url)
        failure = ""
        request = requests.Request("GET", url, default_headers())
        try:
            answer, _ = self._caller.call(request, DEADLINE, (DEADLINE, DEADLINE), most=0)
            if answer.status_code >= 300:
                failure = f"HTTP {answer.status_code}"
            if answer.is_redirect:
                failure += ", a redirect, which is not followed"
        except Exception as error:  # its text would show the address
            failure = type(error).__name__
        metrics.HEARTBEATS.labels("failed" if failure else "ok").inc()
        now = time.monotonic()
        if failure and now - self._warned_at > LOG_EVERY:
            self._warned_at = now
            log.warning(
                "BRIDGE_HEARTBEAT_URL cannot be called: %s; it is tried every %.0f s",
                failure,
                EVERY,
            )
        return failure

    def _is_due(self) -> bool:
        """Take the turn of all processes, or without a database one of this process alone."""
        now = self._clock()
        # Where the last call was before this process started, the monitor is to see the start soon.
        latest = max(now - EVERY, min(self._before_start, now - SOON))
        with suppress(StorageError):
            return self._shared.take_turn("heartbeat", latest, now)
        # Better several alarms than none.
        is_due = time.monotonic() - self._alone_at >= EVERY
        if is_due:
            self._alone_at = time.monotonic()
        return is_due


def failing_url(url: str) -> str:
    """Return the address that reports a failure.

    Uptime Kuma's takes it as `status=down`, healthchecks.io's and others' as `/fail` at the end.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "status" in query:
        return urlunsplit(parts._replace(query=urlencode({**query, "status": "down"})))
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/fail"))
