"""The thread that looks at Pgyer at intervals, in one process over all at a time."""

import hashlib
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from bridge import metrics
from bridge.errors import PgyerError, StorageError
from bridge.model import Secret
from bridge.pgyer.watch import Seen, Verdict, Watch
from bridge.storage.shared_values import SharedValues

log = logging.getLogger(__name__)

LEASE = 120.0  # seconds after which another process may look, if the one that does has died
NAP = 5.0  # seconds between two looks into the database whether it is this process's turn
MAX_BACK_OFF = 10  # intervals
LOG_EVERY = 3600.0  # seconds between two warnings about the same
_STATE, _LEASE = "pgyer", "pgyer lease"  # names of shared values


@dataclass(frozen=True)
class State:
    """How the last look ended, over all processes; times are epoch seconds, 0 is never.

    `key` is a fingerprint of the key; `first_at` is when it was first used with success, by
    Pgyer's clock.
    """

    key: str = ""
    first_at: float = 0.0
    asked_at: float = 0.0
    good_at: float = 0.0
    next_at: float = 0.0
    failures: int = 0
    outcome: str = ""
    problem: str = ""
    apps: int = 0
    builds: int = 0


class Poller:
    """Looks each `interval` seconds, later while Pgyer is away, from a thread of its own.

    `clock` gives the database's epoch seconds; `jitter` a number from 0 to 1.
    """

    def __init__(
        self,
        watch: Watch,
        shared: SharedValues,
        key: Secret,
        interval: float,
        clock: Callable[[], float],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.watch, self._shared, self._clock, self._jitter = watch, shared, clock, jitter
        self._key = hashlib.sha256(f"pgyer {key.reveal()}".encode()).hexdigest()[:16]
        self._interval = interval
        self._looked_at = self._logged_at = float("-inf")
        self._logged = ""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None  # a fork would spoil it

    def start(self) -> None:
        """Begin to look; after a fork."""
        self._thread = threading.Thread(target=self._run, name="pgyer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a call that is under way does not hold up the end."""
        self._stopping.set()
        if self._thread:
            self._thread.join(1.0)

    def state(self) -> State:
        """Return how the last look with this key ended; raises StorageError."""
        state = self._read()
        return state if state.key == self._key else State(self._key)

    def problem(self) -> str:
        """Return what a person has to correct, '' for nothing; raises StorageError."""
        state = self.state()
        return f"PGYER_API_KEY: {state.problem}" if state.outcome == "wrong_key" else ""

    def poll(self) -> bool:
        """Look if it is this process's turn; tell whether it did. Raises StorageError."""
        now = self._clock()
        if not self._is_due(self._read(), now):
            return False
        if not self._shared.take_turn(_LEASE, now - LEASE, now):
            return False
        try:
            before = self._read()
            if not self._is_due(before, now):  # another process has just looked
                return False
            self._looked_at = time.monotonic()
            state = before if before.key == self._key else State(self._key)
            state = self._looked(replace(state, asked_at=now))
            text = json.dumps(asdict(state))
            self._shared.change(_STATE, lambda *_: (text, now))
        finally:
            with suppress(StorageError):
                self._shared.end_turn(_LEASE, now)
        return True

    def _read(self) -> State:
        with suppress(ValueError, TypeError):  # of another version
            return State(**json.loads(self._shared.read(_STATE)[0]))
        return State()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.poll()
                self._stopping.wait(NAP)
            except Exception as error:  # a bug must not end the loop
                is_bug = not isinstance(error, StorageError)
                line = "Pgyer cannot be asked: %s; next try in %.0f s"
                log.error(line, repr(error), self._interval, exc_info=is_bug)
                self._stopping.wait(self._interval)

    def _is_due(self, state: State, now: float) -> bool:
        """Tell whether to look: the time has come, the clock was set back, or the key is new."""
        if state.key != self._key:  # but two processes with different keys must not do so in turn
            return time.monotonic() - self._looked_at >= self._interval
        return not now < state.next_at <= now + MAX_BACK_OFF * self._interval + 1.0

    def _looked(self, state: State) -> State:
        """Look, and return the state after it."""
        look = self.watch.look(state.first_at)
        _report(look.seen)
        if failure := look.failure:
            self._log_failure(failure)
            failures, outcome = state.failures + 1, failure.outcome
            state = replace(state, failures=failures, outcome=outcome, problem=str(failure))
        else:
            if state.failures or not state.good_at:
                log.info("Pgyer is asked for builds every %.0f s", self._interval)
            self._logged = ""
            state = State(
                self._key,
                # Not before all was seen, else the rest might be taken for history.
                state.first_at or look.at,
                state.asked_at,
                good_at=self._clock(),
                outcome="ok",
                apps=len({each.build.app for each in look.seen}),
                builds=self.watch.known.count(),
            )
        wait = self._interval * min(2 ** min(state.failures, 4), MAX_BACK_OFF)
        wait = min(wait * (1 + self._jitter() / 10), MAX_BACK_OFF * self._interval)
        return replace(state, next_at=self._clock() + wait)

    def _log_failure(self, error: PgyerError) -> None:
        """Log what is new, and what is not once an hour."""
        now, line = time.monotonic(), "asking Pgyer for builds failed: %s"
        if str(error) == self._logged and now - self._logged_at < LOG_EVERY:
            return
        self._logged, self._logged_at = str(error), now
        if error.outcome == "wrong_key":
            log.error(f"{line}: set PGYER_API_KEY anew", error)
        else:
            log.warning(line, error)


def _report(seen: Sequence[Seen]) -> None:
    """Log and count what was sent, and what is too old to be sent."""
    for each in seen:
        if each.verdict is Verdict.MISSING:
            metrics.BUILDS_MISSING.inc()
            line = "event %s: no webhook came for build %s, it was found by asking Pgyer"
            log.warning(line, each.event, each.build.name)
        elif each.verdict is Verdict.TOO_OLD:
            log.warning("no webhook came for build %s; it is too old to be sent", each.build.name)
