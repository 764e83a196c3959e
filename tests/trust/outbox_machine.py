"""A model of the outbox: what hypothesis does to several processes, and what must always hold.

Each process has its own Outbox and Sender on one database. Time, WeCom and every statement of the
database are under the machine's control; everything else is the bridge's own code. It runs in one
thread, so a failing run is repeated exactly.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support import Clock

from bridge.delivery.sender import Call, Sender
from bridge.delivery.wecom import CALL_TIMEOUT, Client
from bridge.errors import StorageError
from bridge.messages.renderer import Renderer
from bridge.model import (
    Attempt,
    Bot,
    Delivery,
    Event,
    Message,
    Outcome,
    Routed,
    Secret,
    Target,
    Verdict,
)
from bridge.storage import database as databases
from bridge.storage.claims import LEASE
from bridge.storage.driver import Connection, driver_error
from bridge.storage.operator import DONE, Operator
from bridge.storage.outbox import Outbox
from bridge.storage.results import MEDIA_GONE
from bridge.storage.retention import prune

NAMES = ("default", "dev", "ops")
BOTS = {name: Bot(name, Secret(f"http://wecom.invalid/send?key={name}")) for name in NAMES}
RATE = 3
DEDUPE = 600.0
MAX_AGE = 86_400.0
RETENTION = 5 * 86_400.0
PROCESSES = 3
STATES = {"pending", "sent", "parked", "expired"}
TEMPLATES = {
    "default.markdown.j2": "{{ title or event.type }} {{ notes }} {{ mention }}",
    "digest.markdown.j2": "{% for group in groups %}{{ group.title }} {% endfor %}{{ mention }}",
}


class Crash(BaseException):
    """The process ends here; nothing of it may clean up."""


@dataclass
class Fuse:
    """What happens to the statements of the database: after `left` of them, the `fault`."""

    fault: str = ""  # error: one statement fails; down: this and all that follow; crash; cut
    left: int = 0
    broken: type[Exception] = Exception
    statements: int = 0  # that have been run
    connections: list[Connection] = field(default_factory=list)  # a crash leaves them open

    def burn(self, is_commit: bool) -> Callable[[], None]:
        """Count a statement; raise in place of it, or return what to do after it."""
        if self.fault == "cut" and is_commit:  # committed, and nobody hears of it
            self.fault = ""
            return self._fail
        if not self.fault or self.fault == "cut":
            return lambda: None
        if self.left:
            self.left -= 1
            return lambda: None
        fault = self.fault
        if fault != "down":
            self.fault = ""
        if fault == "crash":
            raise Crash
        if fault == "crash after" and is_commit:
            return self._crash
        self._fail()
        raise AssertionError("unreachable")

    def _fail(self) -> None:
        raise self.broken("the connection broke")

    def _crash(self) -> None:
        raise Crash


class FusedDriver:
    """A driver's connection, or its cursor, whose statements burn the fuse."""

    def __init__(self, driver: Any, fuse: Fuse) -> None:
        vars(self).update(_driver=driver, _fuse=fuse)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._driver, name, value)

    def execute(self, text: str, *values: Any) -> Any:
        return self._run(text, lambda: self._driver.execute(text, *values))

    def executemany(self, text: str, *values: Any) -> Any:
        return self._run(text, lambda: self._driver.executemany(text, *values))

    def cursor(self) -> "FusedDriver":
        return FusedDriver(self._driver.cursor(), self._fuse)

    def _run(self, text: str, work: Callable[[], Any]) -> Any:
        if text.startswith("PRAGMA"):  # nothing that could fail
            return work()
        self._fuse.statements += 1
        after = self._fuse.burn(text == "COMMIT")
        result = work()
        after()
        return result


FUSE = Fuse()


class FusedConnection(Connection):
    """A connection of the bridge over a driver with the fuse."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.driver = FusedDriver(self.driver, FUSE)
        FUSE.connections.append(self)


@contextmanager
def fused() -> Iterator[None]:
    """Let every database of the bridge connect over the fuse."""
    plain = databases.Connection
    databases.Connection = FusedConnection  # type: ignore[misc]
    try:
        yield
    finally:
        databases.Connection = plain  # type: ignore[misc]


@dataclass
class Flight:
    """A claimed attempt that has not been made yet."""

    attempt: Attempt
    lease_until: float
    stale: bool = False  # its lease has ended: another process may take it over


@dataclass
class Process:
    """One process of the bridge, alive."""

    outbox: Outbox
    sender: Sender
    flights: list[Flight] = field(default_factory=list)


# What WeCom does with a call: its outcome, and whether the group sees the message.
ANSWERS: dict[str, tuple[Outcome, bool]] = {
    "sent": (Outcome(Verdict.SENT, "ok", "ok", 0), True),
    "busy": (Outcome(Verdict.RETRY, "system_busy", "system busy", -1), False),
    "lost": (Outcome(Verdict.RETRY, "read_timeout"), True),
    "429": (Outcome(Verdict.RETRY, "http_429", retry_after=30.0), False),
    "rest": (Outcome(Verdict.REST, "rate_limited", "", 45009), False),
    "stop": (Outcome(Verdict.STOP, "invalid_webhook", "", 93000), False),
    "park": (Outcome(Verdict.PARK, "invalid_parameter", "", 40058), False),
    "gone": (Outcome(Verdict.PARK, MEDIA_GONE, "", 40007), False),
}
SPECIAL = ("bug", "crash before", "crash after")


class FarSide(Client):
    """WeCom: answers as the machine says, and calls it back for each message."""

    def __init__(self, take: Callable[[Bot, Message], Outcome]) -> None:
        self._take = take

    def send(self, bot: Bot, message: Message) -> Outcome:
        return self._take(bot, message)


class SpyRenderer(Renderer):
    """Remembers which deliveries went into the last digest."""

    carried: tuple[Delivery, ...] = ()

    def digest(self, deliveries: Any) -> tuple[Message, list[Delivery]]:
        message, carried = super().digest(deliveries)
        self.carried = tuple(carried)
        return message, carried


faults = st.one_of(
    st.none(),
    st.none(),
    st.tuples(
        st.sampled_from(["error", "down", "crash", "crash after", "cut"]), st.integers(0, 12)
    ),
)
which = st.integers(0, PROCESSES - 1)
target = st.builds(
    lambda bot, mention, attach, quiet: (bot, mention, attach, quiet),
    st.sampled_from(NAMES),
    st.sampled_from([(), (), ("wang",), ("@all",)]),
    st.sampled_from([(), (), ("log",)]),
    st.sampled_from([0.0, 0.0, 0.0, 30.0, 5000.0]),
)
new_event = st.tuples(
    st.one_of(st.none(), st.none(), st.integers(0, 5)),  # None: new; else one of the last again
    st.booleans(),  # with notes that do not fit
    st.lists(target, min_size=1, max_size=3, unique_by=lambda parts: parts[0]),
)


class OutboxMachine(RuleBasedStateMachine):
    """Events come in, are claimed and sent, processes die, the clock jumps."""

    url = ""
    renderer: SpyRenderer
    fresh: Callable[[], None] = staticmethod(lambda: None)  # empties the database

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.real = 0.0  # seconds that have passed; no clock can set them back
        self.steady = True
        self.processes: list[Process] = []
        self.events: dict[int, tuple[str, tuple[str, ...]]] = {}  # acknowledged: title, bots
        self.unanswered: dict[str, list[tuple[str, ...]]] = {}  # title → bots, perhaps stored
        self.payloads: list[dict[str, Any]] = []
        self.rows: dict[int, dict[str, Any]] = {}  # deliveries after the last step
        self.seen: Counter[tuple[int, int]] = Counter()  # (delivery, its message) in the group
        self.excused: Counter[int] = Counter()  # reasons for a second one
        self.refused: set[tuple[int, int]] = set()  # messages that are not taken, or met a bug
        self.by_hand: set[int] = set()  # deliveries that an operator has changed
        self.calls: dict[str, list[float]] = {name: [] for name in NAMES}
        self.order: dict[str, list[int]] = {name: [] for name in NAMES}
        self.flight: Flight | None = None
        self.answer = "sent"
        self.in_call: Callable[[], None] = lambda: None
        self.uploads = 0
        self.looked_at = FUSE.statements
        self.broken: AssertionError | None = None  # found inside of a call, whose caller goes on

    # How processes begin and end

    @initialize(steady=st.booleans())
    def begin(self, steady: bool) -> None:
        self.steady = steady  # then the clock is never set back
        FUSE.fault = ""
        FUSE.broken = driver_error(self.url)
        type(self).fresh()
        self.reader = Connection(self.url)
        self.processes = [self.process() for _ in range(PROCESSES)]

    def process(self) -> Process:
        outbox = Outbox(
            self.url,
            BOTS,
            rate=RATE,
            max_age=MAX_AGE,
            dedupe=DEDUPE,
            clock=self.clock,
            jitter=lambda: 0.5,
        )
        client = FarSide(self.take)
        sender = Sender(outbox, self.renderer, client, BOTS, self.clock, self.advance)
        return Process(outbox, sender)

    def die(self, number: int) -> None:
        """End a process at once, and start another in its place."""
        FUSE.fault = ""
        self.processes[number].outbox.database.close()
        self.processes[number] = self.process()

    @contextmanager
    def faulty(self, number: int, fault: tuple[str, int] | None) -> Iterator[None]:
        """Run a step of a process, in which its database may fail or it may die."""
        FUSE.fault, FUSE.left = fault or ("", 0)
        try:
            yield
        except Crash:
            self.die(number)
        except StorageError:
            assert fault, "the database failed by itself"
        finally:
            FUSE.fault = ""

    # What happens to the bridge

    @rule(number=which, wanted=st.lists(new_event, min_size=1, max_size=3), fault=faults)
    def accept(self, number: int, wanted: list[Any], fault: tuple[str, int] | None) -> None:
        """Receive the events of one body."""
        now = self.clock()
        known = {  # title → the events that make it a duplicate
            row["title"]: [] for row in self.reader.execute("SELECT title FROM events")
        }
        for row in self.reader.execute("SELECT id, title, received_at FROM events"):
            if now - DEDUPE < row["received_at"] <= now + 1.0:
                known[row["title"]].append(row["id"])
        batch, expected = [], []
        for again, is_long, parts in wanted:
            if again is None or not self.payloads:
                notes = "x" * 5000 if is_long else ""
                self.payloads.append({"title": f"E{len(self.payloads)}.", "notes": notes})
                again = 0
            payload = self.payloads[-1 - again % len(self.payloads)]
            targets = [
                Target(bot, mention, "", attach, now + quiet if quiet else 0.0)
                for bot, mention, attach, quiet in parts
            ]
            batch.append(Routed(Event("updateVersion", payload, now), targets))
            title = str(payload["title"])
            bots = tuple(t.bot for t in targets)
            expected.append((title, bots, bool(known.get(title))))
            known.setdefault(title, []).append(0)
            self.unanswered.setdefault(title, []).append(bots)
        with self.faulty(number, fault):
            accepted = self.processes[number].outbox.accept(batch)
            for (title, bots, duplicate), answer in zip(expected, accepted, strict=True):
                assert answer.duplicate == duplicate, f"{title}: {answer}"
                if not duplicate:
                    self.events[answer.event] = title, bots
                else:
                    ids = [n for n in known[title] if n] + list(self.events)
                    assert answer.event in ids

    @rule(number=which, limit=st.integers(1, 4), fault=faults)
    def dispatch(self, number: int, limit: int, fault: tuple[str, int] | None) -> None:
        """Do what the dispatcher's loop does: tidy up, claim."""
        process = self.processes[number]
        with self.faulty(number, fault):
            process.outbox.maintain()
            prune(process.outbox.database, self.clock() - RETENTION)
            now = self.clock()
            due = self.due(now)
            for attempt in process.outbox.claim(limit):
                self.check_claim(attempt, due[attempt.bot], now)
                process.flights.append(Flight(attempt, now + LEASE))

    def due(self, now: float) -> dict[str, list[dict[str, Any]]]:
        """Return each bot's due deliveries, in order."""
        query = (
            "SELECT id, bot, not_before, messages_sent FROM deliveries "
            "WHERE state = 'pending' AND not_before <= :now ORDER BY id"
        )
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
        for row in self.reader.execute(query, {"now": now}):
            found[row["bot"]].append(dict(row))  # type: ignore[call-overload]
        return found

    def check_claim(self, attempt: Attempt, due: list[dict[str, Any]], now: float) -> None:
        """What is claimed is the bot's next, and nobody else has it."""
        for process in self.processes:
            for flight in process.flights:
                assert flight.attempt.bot != attempt.bot or flight.stale, "two senders for a bot"
        ids = [delivery.id for delivery in attempt.deliveries]
        new = [row for row in due if not row["messages_sent"]]
        if len(ids) == 1:
            assert ids == [due[0]["id"]], f"{ids} before {due}"
        else:
            delayed = [row["id"] for row in new if row["not_before"] > 0]
            assert ids in ([row["id"] for row in new], delayed), f"{ids} of {due}"

    @precondition(lambda self: any(process.flights for process in self.processes))
    @rule(
        turn=st.integers(0, 7),
        answer=st.sampled_from([*["sent"] * 6, *ANSWERS, *SPECIAL]),
        fault=faults,
        seconds=st.sampled_from([0.0, 0.0, 0.5, 8.0]),
        other=st.one_of(st.none(), which),
    )
    def send(
        self,
        turn: int,
        answer: str,
        fault: tuple[str, int] | None,
        seconds: float,
        other: int | None,
    ) -> None:
        """Make a claimed attempt; meanwhile another process may claim."""
        flights = [(n, f) for n, p in enumerate(self.processes) for f in p.flights]
        number, flight = flights[turn % len(flights)]

        def in_call() -> None:
            self.advance(seconds)
            if other is not None and other != number:
                self.dispatch(other, 2, None)

        self.make(number, flight, answer, in_call, fault)

    def make(
        self,
        number: int,
        flight: Flight,
        answer: str,
        in_call: Callable[[], None] = lambda: None,
        fault: tuple[str, int] | None = None,
    ) -> None:
        """Make an attempt."""
        self.flight, self.answer, self.fault = flight, answer, fault
        self.in_call = in_call
        attempt = flight.attempt
        before = self.seen.copy()
        recorded = self.count_attempts()
        try:
            # Before a call it is a lease's renewal that may fail.
            early = fault if fault and "crash" not in fault[0] else None
            with self.faulty(number, early):
                self.processes[number].sender.send(attempt, Call())
        finally:
            self.flight = None
        if self.broken:
            raise self.broken
        if flight in self.processes[number].flights:  # not of a process that died
            self.processes[number].flights.remove(flight)
        # WeCom has it, and no answer of WeCom's is on record.
        if self.count_attempts() == recorded or answer == "lost" or flight.stale:
            for key in self.seen - before:
                self.excused[key[0]] += 1

    def count_attempts(self) -> int:
        [row] = self.reader.execute(
            "SELECT count(*) AS count FROM attempts WHERE reason != 'interrupted'"
        )
        count: int = row["count"]
        return count

    def take(self, bot: Bot, message: Message) -> Outcome:
        """Be WeCom, called by the attempt that is under way."""
        try:
            return self.judge(bot, message)
        except AssertionError as error:
            self.broken = error
            raise

    def judge(self, bot: Bot, message: Message) -> Outcome:
        """Do what `answer` says, and look whether this call should have come at all."""
        assert self.flight
        FUSE.fault = ""
        flight, attempt = self.flight, self.flight.attempt
        assert bot.name == attempt.bot
        self.check_lease(flight)
        if self.answer == "crash before":
            raise Crash
        self.count_call(flight)
        outcome, is_seen = ANSWERS.get(self.answer, (None, self.answer == "crash after"))
        carried = attempt.deliveries
        if len(carried) > 1:
            carried = self.renderer.carried
        if "data" in message.body:
            if outcome and outcome.verdict is Verdict.SENT:
                self.uploads += 1
                outcome = Outcome(Verdict.SENT, "ok", "ok", 0, media_id=f"m{self.uploads}")
        elif is_seen:
            self.show(carried, message, flight)
        self.in_call()
        if self.answer == "crash after":
            raise Crash
        if outcome is None or outcome.verdict is Verdict.PARK:
            self.refused.update((delivery.id, delivery.messages_sent) for delivery in carried)
        FUSE.fault, FUSE.left = self.fault or ("", 0)
        if outcome is None:
            raise ZeroDivisionError
        return outcome

    def check_lease(self, flight: Flight) -> None:
        """The lease is still there, and lasts for the longest call."""
        if flight.stale and not self.steady:
            return  # a clock that was set back may hide how late it is
        query = "SELECT lease, lease_until FROM bots WHERE name = :name"
        [row] = self.reader.execute(query, {"name": flight.attempt.bot})
        assert row["lease"] == flight.attempt.lease, "the lease was lost before the call"
        assert row["lease_until"] - self.clock() > CALL_TIMEOUT, "the lease may end during the call"
        flight.lease_until, flight.stale = row["lease_until"], False

    def count_call(self, flight: Flight) -> None:
        """Never more than the rate in any 60 s, however the calls ended."""
        if flight.stale:
            return
        times = self.calls[flight.attempt.bot]
        times.append(self.real)
        # Steps of less than a second are not corrected, and the window has one to spare.
        window = 60.0 if self.steady else 55.0
        recent = [at for at in times if at > self.real - window]
        assert len(recent) <= RATE, f"{len(recent)} calls in {window:.0f} s"

    def show(self, carried: tuple[Delivery, ...], message: Message, flight: Flight) -> None:
        """The group sees a message."""
        text = str(message.body.get("content", ""))
        for delivery in sorted(carried, key=lambda delivery: delivery.id):  # a digest is grouped
            first = delivery.messages_sent == 0
            title = str(delivery.event.payload.get("title", ""))
            assert not first or title in text, f"{title} is not in {text}"
            self.seen[delivery.id, delivery.messages_sent] += 1
            plain = delivery.target.not_before == 0 and delivery.id not in self.by_hand
            if first and plain and not flight.stale and self.seen[delivery.id, 0] == 1:
                self.order[flight.attempt.bot].append(delivery.id)

    @rule(
        number=which,
        parts=target,
        times=st.integers(1, 4),
        seconds=st.sampled_from([0.1, 1.0, 12.0]),
        last=st.sampled_from(["sent", "sent", "crash after", "busy", "park"]),
    )
    def trickle(self, number: int, parts: Any, times: int, seconds: float, last: str) -> None:
        """Some events, each of which is sent at once; the last of them may meet trouble."""
        for left in reversed(range(times)):
            self.accept(number, [(None, False, [parts])], None)
            self.dispatch(number, 3, None)
            for flight in [*self.processes[number].flights]:
                self.make(number, flight, "sent" if left else last)
            self.advance(seconds)

    @rule(number=which, other=which)
    def stall(self, number: int, other: int) -> None:
        """A process stands still with its leases, and another takes over."""
        self.dispatch(number, 3, None)
        self.advance(LEASE + 1)
        self.dispatch(other, 3, None)

    # What time, operators and machines do

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 8.0, 13.0, 20.0, 61.0, 70.0, 610.0]))
    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.real += seconds
        self.clock.advance(seconds)
        for process in self.processes:
            for flight in process.flights:
                flight.stale |= self.clock() >= flight.lease_until

    @rule(seconds=st.sampled_from([3600.0, 30_000.0, 86_500.0, 6 * 86_400.0]))
    def much_later(self, seconds: float) -> None:
        self.advance(seconds)

    @precondition(lambda self: not self.steady)
    @rule(seconds=st.sampled_from([0.5, 5.0, 70.0, 3600.0]))
    def set_clock_back(self, seconds: float) -> None:
        self.clock.advance(-seconds)
        for process in self.processes:
            for flight in process.flights:
                flight.lease_until = min(flight.lease_until, self.clock() + LEASE)

    @rule(number=which)
    def kill(self, number: int) -> None:
        """A process dies while its calls are under way."""
        self.die(number)

    @rule(number=which, bot=st.sampled_from(NAMES), fault=faults)
    def resume(self, number: int, bot: str, fault: tuple[str, int] | None) -> None:
        with self.faulty(number, fault):
            assert self.processes[number].outbox.resume(bot)

    @rule(number=which, turn=st.integers(0, 20), what=st.sampled_from(["retry", "mark_done"]))
    def operate(self, number: int, turn: int, what: str) -> None:
        """Somebody retries a delivery, or marks it as done."""
        ids = sorted(self.rows)
        if not ids:
            return
        chosen = ids[-1 - turn % len(ids)]
        operator = Operator(self.processes[number].outbox.database, MAX_AGE, self.clock)
        if getattr(operator, what)([chosen]):
            self.by_hand.add(chosen)
            self.excused[chosen] += 1

    # What must hold

    @invariant()
    def every_event_is_there_with_all_its_deliveries(self) -> None:
        if self.looked_at == FUSE.statements:
            return
        self.looked_at = FUSE.statements
        rows = {
            row["id"]: dict(row)  # type: ignore[call-overload]
            for row in self.reader.execute("SELECT * FROM deliveries")
        }
        events = {
            row["id"]: row
            for row in self.reader.execute("SELECT id, title, type, received_at FROM events")
        }
        bots: dict[int, list[str]] = {number: [] for number in events}
        for row in rows.values():
            bots[row["event_id"]].append(row["bot"])
        for number, (title, names) in [*self.events.items()]:
            if number in events:
                assert events[number]["title"] == title
                assert sorted(bots[number]) == sorted(names), f"event {number} has {bots[number]}"
            else:
                self.check_pruned(number)
                del self.events[number]
        for number, row in events.items():
            if number not in self.events and row["title"]:
                assert tuple(bots[number]) in self.unanswered[row["title"]]
                self.events[number] = row["title"], tuple(bots[number])
        for number, row in rows.items():
            self.check_delivery(row, self.rows.get(number))
        self.rows = rows

    def check_pruned(self, event: int) -> None:
        """Only what was settled long ago may be gone."""
        before = self.clock() - RETENTION
        for row in self.rows.values():
            if row["event_id"] == event:
                assert row["state"] != "pending" and row["settled_at"] <= before, f"lost: {row}"

    def check_delivery(self, row: dict[str, Any], before: dict[str, Any] | None) -> None:
        """Every delivery is in a known state, for a reason that really happened."""
        number, state, reason = row["id"], row["state"], row["reason"]
        assert state in STATES
        assert (state == "pending") == (row["settled_at"] == 0), f"{row}"
        for message in range(max(row["messages_sent"], state == "sent")):
            done = self.seen[number, message] or (number, message) in self.refused
            assert done, f"message {message} was never sent: {row}"
        if state == "sent":
            assert self.seen[number, 0], f"no message of it was ever taken: {row}"
        elif state == "parked":
            assert (number, 0) in self.refused and reason, f"{row}"
        elif state == "expired":
            late = row["expires_at"] <= row["settled_at"] and reason == "too_old"
            assert late or (reason == DONE and number in self.by_hand), f"{row}"
        if before and before["state"] in ("sent", "parked") and number not in self.by_hand:
            assert state == before["state"], f"from {before} to {row}"

    @invariant()
    def nothing_is_sent_twice_without_a_crash_or_a_lost_answer(self) -> None:
        for (number, message), times in self.seen.items():
            allowed = 1 + self.excused[number]
            assert times <= allowed, f"message {message} of delivery {number}: {times} times"

    @invariant()
    def each_bot_sends_in_order(self) -> None:
        for name, ids in self.order.items():
            assert ids == sorted(ids), f"{name}: {ids}"

    def teardown(self) -> None:
        """From any state on, with nothing failing any more, all that is pending is settled."""
        if not self.processes:
            return
        FUSE.fault = ""
        try:
            self.drain()
        finally:
            for process in self.processes:
                process.outbox.database.close()
            self.reader.close()
            while FUSE.connections:
                FUSE.connections.pop().close()

    def drain(self) -> None:
        query = (
            "SELECT bot, count(*) AS count, min(not_before) AS not_before FROM deliveries "
            "WHERE state = 'pending' GROUP BY bot"
        )
        for _ in range(300):
            for number, process in enumerate(self.processes):
                for flight in [*process.flights]:
                    self.make(number, flight, "sent")
                self.dispatch(number, 10, None)
            self.every_event_is_there_with_all_its_deliveries()
            self.nothing_is_sent_twice_without_a_crash_or_a_lost_answer()
            self.each_bot_sends_in_order()
            if any(process.flights for process in self.processes):
                continue
            pending = {row["bot"]: row["not_before"] for row in self.reader.execute(query)}
            if not pending:
                return
            free = {
                row["name"]: max(row["lease_until"], row["rest_until"])
                for row in self.reader.execute("SELECT name, lease_until, rest_until FROM bots")
            }
            opens = min(max(free[bot], pending[bot]) for bot in pending)
            self.advance(max(opens - self.clock(), 0.1))
        raise AssertionError(f"still pending: {self.reader.execute(query)}")


def make_renderer(folder: Path) -> SpyRenderer:
    """Return a renderer of two small templates."""
    for name, text in TEMPLATES.items():
        (folder / name).write_text(text)
    return SpyRenderer(folder, ZoneInfo("Asia/Shanghai"))
