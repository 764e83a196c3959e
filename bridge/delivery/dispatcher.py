"""The loop that empties the outbox: claim due deliveries, hand each to a sender, again."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bridge.delivery.sender import Call, Sender, SenderLimit
from bridge.delivery.wecom import Client
from bridge.errors import StorageError
from bridge.messages.renderer import Renderer
from bridge.model import Attempt, Bot, Event
from bridge.storage.outbox import Outbox
from bridge.storage.retention import prune

log = logging.getLogger(__name__)

POLL = 1.0  # seconds between two looks for what became due, or other processes have stored
# Seconds after a look that found nothing, or no free sender: each event and each sender would cause
# another one, and take the processor from the threads that answer Pgyer.
AFTER_NOTHING = 0.02
TROUBLE = 2.0  # seconds to wait when the database cannot be used
PRUNE_EVERY = 600.0  # seconds
MAX_SENDERS = 64  # calls under way at once
SHOWN_BOTS = 20  # in one line of the log


class Dispatcher:
    """One per process. `clock` gives epoch seconds, `retention` is in seconds.

    `look_up` is as in `Sender`.
    """

    def __init__(
        self,
        outbox: Outbox,
        renderer: Renderer,
        client: Client,
        bots: Mapping[str, Bot],
        retention: float,
        clock: Callable[[], float] = time.time,
        look_up: Callable[[Event], Mapping[str, Any]] | None = None,
    ) -> None:
        self._outbox = outbox
        self._bots = bots
        self._renderer = renderer
        self._retention = retention
        self._clock = clock
        self._wakeup = outbox.database.wakeup
        self._stopping = threading.Event()
        most = min(len(bots) or 1, MAX_SENDERS)
        self._limit = SenderLimit(outbox, most)
        self._sender = Sender(outbox, renderer, client, bots, clock, self._stopping.wait, look_up)
        self._pool = ThreadPoolExecutor(most, "sender")
        self._threads: list[threading.Thread] = []  # a fork would spoil them, started or not
        self._tidied_at = self._pruned_at = float("-inf")  # monotonic s, epoch s

    @property
    def alive(self) -> bool:
        """Tell whether the loop runs."""
        return any(thread.name == "dispatcher" and thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Begin to dispatch; to be called after a fork, never at import."""
        loops = {"dispatcher": self._run}
        if self._outbox.database.is_postgres:
            loops["listener"] = self._listen
        for name, loop in loops.items():
            self._threads.append(threading.Thread(target=loop, name=name, daemon=True))
            self._threads[-1].start()

    def stop_soon(self) -> None:
        """Claim nothing more; safe in a signal handler."""
        self._stopping.set()
        self._wakeup.set()

    def stop(self) -> None:
        """Claim nothing more, and wait until the calls under way are recorded."""
        self.stop_soon()
        for thread in self._threads:
            # The listener has nothing to finish, and a server may keep it waiting.
            thread.join(POLL if thread.name == "listener" else None)
        self._pool.shutdown(wait=True)

    def run_once(self) -> bool:
        """Claim what is due for the senders that are free; return whether there was anything."""
        self._tidy()
        calls = self._limit.reserve()
        if not calls:
            return False
        claimed: list[Attempt] = []
        try:
            claimed = self._outbox.claim(len(calls))
        finally:
            self._limit.release(calls[len(claimed) :])
        for attempt, call in zip(claimed, calls, strict=False):
            self._pool.submit(self._send, attempt, call)
        return bool(claimed)

    def _send(self, attempt: Attempt, call: Call) -> None:
        try:
            self._sender.send(attempt, call)
        finally:
            self._limit.release([call])
            self._wakeup.set()  # its bot may have more, and a sender is free

    def _run(self) -> None:
        names = sorted(self._bots)
        more = f" and {len(names) - SHOWN_BOTS} more" if len(names) > SHOWN_BOTS else ""
        log.info("dispatching for %s%s", ", ".join(names[:SHOWN_BOTS]), more)
        try:
            self._renderer.load()
        except Exception:  # each rendering tries again
            log.exception("a bug in the reading of templates")
        while not self._stopping.is_set():
            self._wakeup.clear()
            try:
                pause = 0.0 if self.run_once() else AFTER_NOTHING
            except StorageError as error:
                log.error("the outbox cannot be used: %s; next try in %.0f s", error, TROUBLE)
                pause = TROUBLE
            except Exception:  # a bug must not end the loop
                log.exception("a bug in the dispatcher; next try in %.0f s", TROUBLE)
                pause = TROUBLE
            if not self._stopping.wait(pause):
                self._wakeup.wait(POLL)

    def _listen(self) -> None:
        """Be notified by other processes; where that fails, the look each POLL is left."""
        while not self._stopping.is_set():
            try:
                self._outbox.database.listen(self._stopping)
            except Exception as error:  # of whatever kind: the driver's, a pooler's, the network's
                reason = type(error).__name__
                log.warning("not notified by others for %.0f s: %s", TROUBLE, reason)
            self._stopping.wait(TROUBLE)

    def _tidy(self) -> None:
        """Once in POLL seconds, expire what is too old and delete a batch of old history."""
        if time.monotonic() - self._tidied_at < POLL:
            return
        self._tidied_at = time.monotonic()
        self._outbox.maintain()
        now = self._clock()
        if not 0 <= now - self._pruned_at < PRUNE_EVERY and not prune(
            self._outbox.database, now - self._retention
        ):
            self._pruned_at = now
