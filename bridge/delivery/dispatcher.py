"""The loop that empties the outbox: claim → render → send → settle, for ever."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from bridge import metrics
from bridge.delivery.wecom import Client
from bridge.errors import StorageError
from bridge.messages.mentions import needs_list
from bridge.messages.renderer import Renderer
from bridge.model import Attempt, Bot, Delivery, Event, Message, Outcome, Target, Verdict
from bridge.storage.outbox import Accepted, Outbox, Settled
from bridge.storage.queries import Queries

log = logging.getLogger(__name__)

POLL = 1.0  # seconds between two looks for what other processes have stored
TROUBLE = 2.0  # seconds to wait when the database cannot be used
RECORD_TRIES = 4  # for an outcome, TROUBLE apart: its lease does not last for many more
PRUNE_EVERY = 600.0  # seconds
NAMED = 20  # bots in one line of the log
MAX_SENDERS = 64  # calls under way at once
# The same while events come in, so that who receives is not crowded out: for what has just come,
# and for what waits.
NEW_SENDERS, BACKLOG_SENDERS = 4, 1
COMING = 0.05  # seconds for which events count as coming in after the last one
SLOW = 0.02  # seconds after which a call only waits for WeCom, and does not count as one of a few


class Dispatcher:
    """One per process: claims what is due and sends each bot's messages in a thread of a pool."""

    def __init__(
        self,
        outbox: Outbox,
        renderer: Renderer,
        client: Client,
        bots: Mapping[str, Bot],
        history: Queries,
        retention: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._outbox = outbox
        self._renderer = renderer
        self._client = client
        self._bots = bots
        self._history = history
        self._retention = retention
        self._clock = clock
        self._pruned_at = 0.0
        self._busy: dict[str, float] = {}  # until when (epoch s) a bot can be told nothing
        # To render is computing, of which Python does one at a time: more senders at it would only
        # crowd out those who receive.
        self._turn = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._listener = threading.Thread(target=self._listen, name="listener", daemon=True)
        self._most = min(len(bots) or 1, MAX_SENDERS)
        self._pool = ThreadPoolExecutor(self._most, "sender")
        self._received_at = float("-inf")  # monotonic s
        self._calls: set[_Call] = set()
        self._calling = threading.Lock()  # guards it

    @property
    def alive(self) -> bool:
        """Tell whether the loop runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to dispatch; to be called after a fork, never at import."""
        self._thread.start()
        if self._outbox.database.is_postgres:
            self._listener.start()

    def accept(
        self, told: Sequence[tuple[Event, Sequence[Target]]], named: Sequence[str] = ()
    ) -> list[Accepted]:
        """Store events as the outbox does, and have them told at once.

        A bot that is idle is claimed with the event that is stored for it, and told while this
        thread waits for the disk: a machine that ends meanwhile has not answered yet, so the
        event comes again.
        """
        self._received_at = time.monotonic()
        bots = list(dict.fromkeys(target.bot for _, targets in told for target in targets))
        runs = self._thread.is_alive() and not self._stopping.is_set()
        idle = self._idle(bots) if runs else []
        calls = self._take_calls(len(idle), NEW_SENDERS)
        if calls:
            claimed: list[Attempt] = []
            try:
                accepted, claimed = self._outbox.accept_and_claim(told, named, idle[: len(calls)])
            finally:
                # Where no thread begins any more, it is told once its lease has ended.
                with suppress(RuntimeError):
                    self._begin(claimed, calls)
            self._outbox.database.sync()
        else:
            accepted = self._outbox.accept(told, named)
        self.wake(bots)
        return accepted

    def wake(self, bots: Iterable[str]) -> None:
        """Say that something new is in the outbox for these bots.

        While all of them rest or are being told, a look would find nothing to do.
        """
        if self._idle(bots):
            self._wake.set()

    def _idle(self, bots: Iterable[str]) -> list[str]:
        now = self._clock()
        return [name for name in bots if self._busy.get(name, 0.0) <= now]

    def stop_soon(self) -> None:
        """Claim nothing more; safe in a signal handler."""
        self._stopping.set()
        self._wake.set()

    def stop(self) -> None:
        """Claim nothing more and wait until the calls under way are settled."""
        self.stop_soon()
        for thread in (self._thread, self._listener):
            if thread.is_alive():
                thread.join()
        self._pool.shutdown(wait=True)

    def _run(self) -> None:
        names = sorted(self._bots)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        log.info("dispatching for %s%s", ", ".join(names[:NAMED]), more)
        self._renderer.load()
        while not self._stopping.is_set():
            try:
                pause = min(self.run_once() - self._clock(), POLL)
                self._prune()
            except StorageError as error:
                log.error("the outbox cannot be used: %s; next try in %.0f s", error, TROUBLE)
                pause = TROUBLE
            except Exception:  # a mistake of ours must not end the loop that keeps the promise
                log.exception("the dispatcher stumbled; it goes on in %.0f s", TROUBLE)
                pause = TROUBLE
            self._wake.wait(max(0.0, pause))
            self._wake.clear()

    def _listen(self) -> None:
        """Be woken by what other processes store; where that fails, looking every POLL goes on."""
        while not self._stopping.is_set():
            try:
                self._outbox.database.listen(self._wake.set, self._stopping)
            except Exception as error:  # of whatever kind: the driver's, the pool's, the network's
                log.warning("not woken by others for %.0f s: %s", TROUBLE, type(error).__name__)
            self._stopping.wait(TROUBLE)

    def run_once(self) -> float:
        """Start whatever is due and a sender is free for; return when to look again (epoch s)."""
        calls = self._take_calls(self._most, BACKLOG_SENDERS)
        if not calls:
            return float("inf")  # a sender that finishes wakes the loop
        claimed: list[Attempt] = []
        try:
            claimed = self._outbox.claim(len(calls))
        finally:
            self._begin(claimed, calls)
        if len(claimed) == len(calls):
            return float("inf")
        due, self._busy = self._outbox.outlook()
        return due

    def _begin(self, attempts: Sequence[Attempt], calls: Sequence["_Call"]) -> None:
        """Let attempts be made, and give back the calls that are left over."""
        for attempt in attempts:
            self._busy[attempt.bot] = float("inf")
        for attempt, call in zip(attempts, calls, strict=False):
            job = self._pool.submit(self.tell, attempt, call)
            job.add_done_callback(partial(self._finished, call))
        with self._calling:
            self._calls.difference_update(calls[len(attempts) :])

    def _take_calls(self, most: int, few: int) -> list["_Call"]:
        """Reserve so many calls, or as many as there are senders for."""
        with self._calling:
            calls = [_Call() for _ in range(min(self._free(few), most))]
            self._calls.update(calls)
        return calls

    def _free(self, few: int) -> int:
        """Return how many more senders may work now, below 0 where there are too many.

        While events come in that is up to a `few`. To be asked while holding `_calling`.
        """
        now, senders = time.monotonic(), self._most
        if now - self._received_at < COMING:
            slow = sum(now - call.since > SLOW for call in self._calls)
            senders = min(few + slow, self._most)
        return senders - len(self._calls)

    def _finished(self, call: "_Call", _: Future[None]) -> None:
        with self._calling:
            self._calls.discard(call)
        self._wake.set()

    def tell(self, attempt: Attempt, call: "_Call | None" = None) -> None:
        """Make an attempt, and then whatever is due, one after the other, as long as it may.

        Whatever goes wrong is logged, never raised.
        """
        following: Attempt | None = attempt
        while following:
            self._busy[following.bot] = float("inf")
            following = self._tell_one(following, call or _Call())

    def _tell_one(self, attempt: Attempt, call: "_Call") -> Attempt | None:
        """Make one attempt and settle it; return the next, which was claimed with that."""
        bot = self._bots[attempt.bot]
        told: Sequence[Delivery] = attempt.deliveries
        unfinished: Collection[int] = ()
        try:
            with self._turn:
                if len(told) > 1:
                    message, told = self._renderer.digest(told)
                    unfinished = _one_for_each_call(told)
                else:
                    message, unfinished = self._next_message(told[0])
            call.since = time.monotonic()
            outcome = self._client.send(bot, message)
        except Exception:
            log.exception("%s → bot %s: our own mistake", _events(attempt.deliveries), bot.name)
            outcome = Outcome(Verdict.PARK, "internal_error", "see the bridge's log")
        call.since = float("inf")
        try:
            settled = self._settle(attempt, outcome, told, unfinished)
        finally:
            # Whatever is stored for it from here on is worth a look at once.
            self._busy.pop(bot.name, None)
        if not settled:
            return None
        self._log(attempt, outcome, told, settled.rest_until)
        if settled.rest_until is not None:
            self._count(attempt.bot, outcome, told, unfinished)
        return settled.following

    def _settle(
        self,
        attempt: Attempt,
        outcome: Outcome,
        told: Sequence[Delivery],
        unfinished: Collection[int],
    ) -> Settled | None:
        """Record an outcome, and claim what is next unless there are too many senders."""
        with self._calling:
            free = self._free(BACKLOG_SENDERS)
        go_on = free >= 0 and not self._stopping.is_set()
        for left in reversed(range(RECORD_TRIES)):
            try:
                settled = self._outbox.settle(attempt, outcome, told, unfinished, go_on=go_on)
                if settled.following and free:
                    self._wake.set()  # there may be more than one can tell
                return settled
            except Exception as error:  # of ours too: unrecorded it would be told for ever
                log.error(
                    "%s → bot %s: %s, but it could not be recorded (%s); %s",
                    _events(told),
                    attempt.bot,
                    outcome.reason,
                    error if isinstance(error, StorageError) else repr(error),
                    f"recorded again in {TROUBLE:.0f} s" if left else "it is sent again",
                )
                go_on = False  # the claim may be what fails
                if left:
                    self._stopping.wait(TROUBLE)
        return None

    def _count(
        self,
        bot: str,
        outcome: Outcome,
        told: Sequence[Delivery],
        unfinished: Collection[int],
    ) -> None:
        errcode = "" if outcome.errcode is None else str(outcome.errcode)
        metrics.ATTEMPTS.labels(bot, errcode, outcome.reason).inc()
        if outcome.verdict not in (Verdict.SENT, Verdict.PARK) or outcome.media_id:
            return
        for delivery in told:
            # Refused at its first message it is parked, whatever would have followed.
            parked = outcome.verdict is Verdict.PARK and not delivery.messages_sent
            if parked:
                metrics.DELIVERIES.labels(bot, "parked").inc()
            elif delivery.id not in unfinished:
                metrics.DELIVERIES.labels(bot, "sent").inc()
                metrics.DELIVERED.observe(max(0.0, self._clock() - delivery.event.received_at))

    def _next_message(self, delivery: Delivery) -> tuple[Message, Collection[int]]:
        """Return the message that a delivery has come to, and its id if there is one more."""
        messages = self._renderer.messages(delivery.event, delivery.target)
        step = min(delivery.messages_sent, len(messages) - 1)
        message, more = messages[step], step + 1 < len(messages)
        if message.msgtype == "file" and delivery.media_id:
            message = Message("file", {"media_id": delivery.media_id})
        return message, [delivery.id] if more else ()

    def _log(
        self,
        attempt: Attempt,
        outcome: Outcome,
        told: Sequence[Delivery],
        rest_until: float | None,
    ) -> None:
        now = self._clock()
        wait = max(0.0, (rest_until or 0.0) - now)
        level, then = {
            Verdict.SENT: (logging.INFO, ""),
            Verdict.RETRY: (logging.WARNING, f"; tried again in {wait:.0f} s"),
            Verdict.REST: (logging.WARNING, f"; the bot rests for {wait:.0f} s"),
            Verdict.STOP: (
                logging.ERROR,
                f"; the bot is stopped: mend WECOM_BOT_KEY for it. What waits for it is kept, "
                f"and tried in {wait / 60:.0f} min",
            ),
            Verdict.PARK: (logging.ERROR, "; parked, WeCom will not take it"),
        }[outcome.verdict]
        if rest_until is None:
            level, then = logging.WARNING, "; the lease was lost, so another may send it again"
        elif outcome.verdict is Verdict.SENT and outcome.detail not in ("", "ok"):
            level, then = logging.WARNING, "; taken all the same"
        log.log(
            level,
            "%s → bot %s: %s%s in %.0f ms%s",
            _events(told),
            attempt.bot,
            outcome.reason,
            f" ({outcome.detail})" if outcome.detail not in ("", "ok") else "",
            1000 * (now - attempt.started_at),
            then,
            extra={
                "facts": {
                    "event": told[0].event.id,
                    "told": len(told),
                    "bot": attempt.bot,
                    "verdict": outcome.verdict,
                    "errcode": outcome.errcode,
                    "ms": round(1000 * (now - attempt.started_at)),
                }
            },
        )

    def _prune(self) -> None:
        now = self._clock()
        if now - self._pruned_at < PRUNE_EVERY:
            return
        if not self._history.prune(now - self._retention):
            self._pruned_at = now


@dataclass(eq=False)
class _Call:
    """A sender's call, from its being reserved; `since` when (monotonic s) it waits for WeCom."""

    since: float = float("inf")


def _events(told: Sequence[Delivery]) -> str:
    """Name what was told, for the log: one event, or how many a digest holds."""
    if len(told) == 1:
        return f"event {told[0].event.id} ({told[0].event.type or 'no type'})"
    return f"digest of {len(told)} events ({told[0].event.id} … {told[-1].event.id})"


def _one_for_each_call(told: Sequence[Delivery]) -> Collection[int]:
    """Return the deliveries of a digest whose next message calls those that it cannot call."""
    lists = {
        d.target.mention: d.id for d in reversed(told) if any(map(needs_list, d.target.mention))
    }
    return list(lists.values())
