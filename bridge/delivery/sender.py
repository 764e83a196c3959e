"""One attempt: render the message, call WeCom, record the outcome, say what happened."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from bridge import metrics
from bridge.delivery.wecom import CALL_TIMEOUT, Client
from bridge.errors import StorageError
from bridge.messages.context import WantedBuild
from bridge.messages.mentions import needs_list
from bridge.messages.renderer import Renderer
from bridge.model import Attempt, Bot, Delivery, Event, Message, Outcome, Verdict
from bridge.storage.claims import LEASE
from bridge.storage.outbox import SHOWN_EVENTS, Outbox
from bridge.storage.results import Recorded, Result
from bridge.wording import advice, speaking

log = logging.getLogger(__name__)

# Seconds of a lease after which it is renewed before a call: what is left is enough for the longest
# call, and to record it.
RENEW_AFTER = LEASE - CALL_TIMEOUT - 2.0
RECORD_TRIES = 4  # for an outcome, RECORD_PAUSE apart: its lease does not last for many more
RECORD_PAUSE = 2.0  # seconds


class Call:
    """A sender at work; `waits_since` (monotonic s) is when it began to wait for WeCom."""

    def __init__(self) -> None:
        self.waits_since = float("inf")


class SenderLimit:
    """While events arrive, one sender at a time may compute; waiting for WeCom is free.

    Rendering and recording are computing, of which Python does one at a time. Without this, a
    backlog would take the processor from the threads that answer Pgyer. A process that only
    dispatches receives nothing, so `most` is its only limit.
    """

    ARRIVING = 0.05  # seconds after an event for which more are expected
    WAITING = 0.02  # seconds after which a call only waits for WeCom

    def __init__(self, outbox: Outbox, most: int) -> None:
        self._outbox = outbox
        self._most = most
        self._calls: set[Call] = set()
        self._lock = threading.Lock()

    def reserve(self) -> list[Call]:
        """Return a call for each sender that may start now."""
        with self._lock:
            allowed, now = self._most, time.monotonic()
            if now - self._outbox.accepted_at < self.ARRIVING:
                waiting = sum(now - call.waits_since > self.WAITING for call in self._calls)
                allowed = min(1 + waiting, self._most)
            calls = [Call() for _ in range(allowed - len(self._calls))]
            self._calls.update(calls)
            return calls

    def release(self, calls: Collection[Call]) -> None:
        """Give calls back that have ended or were not needed."""
        with self._lock:
            self._calls.difference_update(calls)


@dataclass(eq=False)
class Sender:
    """Makes attempts; one for a process, used by its sender threads.

    `clock` gives epoch seconds; `pause` is as `time.sleep`, but a stop may end it. `look_up` finds
    what Pgyer says of an event's build within 2 s, where a template asks for it; it never raises.
    """

    outbox: Outbox
    renderer: Renderer
    client: Client
    bots: Mapping[str, Bot]
    clock: Callable[[], float]
    pause: Callable[[float], object]
    look_up: Callable[[Event], Mapping[str, Any]] | None = None
    _renders: threading.Lock = field(default_factory=threading.Lock)

    def send(self, attempt: Attempt, call: Call) -> None:
        """Make an attempt and record it; whatever goes wrong is logged, never raised."""
        unfinished: Collection[int] = ()
        carried = ""
        try:
            message, deliveries, unfinished = self._message(attempt, call)
            carried = _carried(message, attempt.deliveries)
            if not self._keeps_lease(attempt):
                return
            attempt = replace(attempt, deliveries=tuple(deliveries))
            call.waits_since = time.monotonic()
            outcome = self.client.send(self.bots[attempt.bot], message)
        except Exception:
            log.exception("%s: a bug in the bridge", _subject(attempt))
            outcome = Outcome(Verdict.PARK, "internal_error", "see the bridge's log")
        call.waits_since = float("inf")
        result = Result(attempt, outcome, unfinished, carried)
        if recorded := self._record(result):
            self._log(result, recorded)
            if not recorded.lease_lost:
                self._count(result)

    def _keeps_lease(self, attempt: Attempt) -> bool:
        """Renew an attempt's lease where it might end during a call; False: make no call."""
        since, subject = attempt.started_at, _subject(attempt)
        while not 0.0 <= self.clock() - since <= RENEW_AFTER:  # or the clock was set back
            since = self.clock()
            try:
                if not self.outbox.renew(attempt):
                    log.warning("%s: the lease was lost; another process sends it", subject)
                    return False
            except StorageError as error:
                log.warning("%s: its lease cannot be renewed (%s); sent later", subject, error)
                return False
        return True

    @contextmanager
    def _rendering(self, attempt: Attempt) -> Iterator[None]:
        """Wait until no other thread renders: as many as do so at once would be no faster."""
        while not self._renders.acquire(timeout=RENEW_AFTER):
            with suppress(StorageError):  # it is looked at again before the call
                self.outbox.renew(attempt)
        try:
            yield
        finally:
            self._renders.release()

    def _message(
        self, attempt: Attempt, call: Call
    ) -> tuple[Message, Sequence[Delivery], Collection[int]]:
        """Return the next message, the deliveries that it carries, and those with more to send."""
        deliveries = attempt.deliveries
        if len(deliveries) > 1:
            with self._rendering(attempt):
                message, carried = self.renderer.digest(deliveries)
            return message, carried, _mention_follow_ups(carried)
        [delivery] = deliveries
        messages = self._messages(attempt, call)
        # A template that was changed meanwhile may have fewer messages.
        number = min(delivery.messages_sent, len(messages) - 1)
        message, has_more = messages[number], number + 1 < len(messages)
        if message.msgtype == "file" and delivery.media_id:
            message = Message("file", {"media_id": delivery.media_id})
        return message, deliveries, [delivery.id] if has_more else ()

    def _messages(self, attempt: Attempt, call: Call) -> list[Message]:
        """Return a delivery's messages, with what Pgyer says of the build if a template asks."""
        [delivery] = attempt.deliveries
        event, wanted = delivery.event, WantedBuild()
        if self.look_up:
            event = replace(event, build=wanted)
        with self._rendering(attempt):
            messages = self.renderer.messages(event, delivery.target)
        if not self.look_up or not wanted.is_wanted:
            return messages
        # Outside the lock: other messages are not to wait for this one.
        call.waits_since = time.monotonic()
        found = self.look_up(delivery.event)
        call.waits_since = float("inf")
        if not found:
            return messages
        with self._rendering(attempt):
            return self.renderer.messages(replace(event, build=found), delivery.target)

    def _record(self, result: Result) -> Recorded | None:
        """Record a result, if need be after a pause; None where that failed every time."""
        for left in reversed(range(RECORD_TRIES)):
            try:
                return self.outbox.record(result)
            except Exception as error:  # bugs too: unrecorded it would be sent for ever
                log.error(
                    "%s: %s, but it could not be recorded (%s); %s",
                    _subject(result.attempt),
                    result.outcome.reason,
                    error if isinstance(error, StorageError) else repr(error),
                    f"next try in {RECORD_PAUSE:.0f} s" if left else "it will be sent again",
                )
                if left:
                    self.pause(RECORD_PAUSE)
        return None

    def _count(self, result: Result) -> None:
        bot, outcome = result.attempt.bot, result.outcome
        errcode = "" if outcome.errcode is None else str(outcome.errcode)
        metrics.ATTEMPTS.labels(bot, errcode, outcome.reason).inc()
        if outcome.verdict not in (Verdict.SENT, Verdict.PARK) or outcome.media_id:
            return
        for delivery in result.attempt.deliveries:
            # Refused at its first message it is parked, whatever would have followed.
            if outcome.verdict is Verdict.PARK and not delivery.messages_sent:
                metrics.DELIVERIES.labels(bot, "parked").inc()
            elif delivery.id not in result.unfinished:
                metrics.DELIVERIES.labels(bot, "sent").inc()
                metrics.DELIVERED.observe(max(0.0, self.clock() - delivery.event.received_at))

    def _log(self, result: Result, recorded: Recorded) -> None:
        attempt, outcome, now = result.attempt, result.outcome, self.clock()
        level, then = _consequence(result, recorded, now)
        detail = f" ({outcome.detail})" if outcome.detail not in ("", "ok") else ""
        ms = round(1000 * (now - attempt.started_at))
        facts = {
            "event": attempt.deliveries[0].event.id,
            "deliveries": len(attempt.deliveries),
            "bot": attempt.bot,
            "verdict": outcome.verdict,
            "errcode": outcome.errcode,
            "ms": ms,
        }
        line = f"{_subject(attempt)}: {outcome.reason}{detail} in {ms} ms{then}"
        log.log(level, "%s", line, extra={"facts": facts})


def _consequence(result: Result, recorded: Recorded, now: float) -> tuple[int, str]:
    """Return the level of a result's log line, and what happens next."""
    attempt, outcome = result.attempt, result.outcome
    wait = max(0.0, recorded.rest_until - now)
    with speaking("en"):
        todo = advice(outcome.reason, attempt.bot)
    if recorded.lease_lost:
        return logging.WARNING, "; the lease was lost, so another process may send it again"
    match outcome.verdict:
        case Verdict.SENT if outcome.detail in ("", "ok"):
            return logging.INFO, ""
        case Verdict.SENT:
            return logging.WARNING, "; WeCom took it all the same"
        case Verdict.RETRY:
            return logging.WARNING, f"; next try in {wait:.0f} s"
        case Verdict.REST:
            return logging.WARNING, f"; the bot rests for {wait:.0f} s"
        case Verdict.STOP:
            minutes = f"{wait / 60:.0f} min"
            return logging.ERROR, f"; the bot is stopped; next try in {minutes}. {todo}"
        case Verdict.PARK:
            ids = " ".join(str(d.event.id) for d in attempt.deliveries[:SHOWN_EVENTS])
            return logging.ERROR, f"; parked. {todo} `bridge retry {ids}` sends it again."


def _subject(attempt: Attempt) -> str:
    """Name what is sent, one event or a digest, and to which bot, for the log."""
    deliveries, bot = attempt.deliveries, attempt.bot
    first, last = deliveries[0].event, deliveries[-1].event
    if len(deliveries) == 1:
        return f"event {first.id} ({first.type or 'no type'}) → bot {bot}"
    return f"digest of {len(deliveries)} events ({first.id} … {last.id}) → bot {bot}"


def _carried(message: Message, deliveries: Sequence[Delivery]) -> str:
    """Return what a call carries, by the names that `wording.carried` knows."""
    if len(deliveries) > 1:
        return f"digest {message.msgtype}"
    main = f"message {message.msgtype}"
    if not deliveries[0].messages_sent:
        return main
    if "data" in message.body:
        return "upload"
    return {"file": "file", "image": "picture", "text": "mention"}.get(message.msgtype, main)


def _mention_follow_ups(deliveries: Sequence[Delivery]) -> Collection[int]:
    """For each set of mentions that a digest cannot carry, return one delivery to stay unfinished.

    It sends the follow-up text.
    """
    found = {
        d.target.mention: d.id
        for d in reversed(deliveries)
        if any(map(needs_list, d.target.mention))
    }
    return list(found.values())
