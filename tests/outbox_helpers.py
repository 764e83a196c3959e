"""Short ways to use an outbox in a test."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from support import Clock, event, until

from bridge.delivery.wecom import Client
from bridge.model import Attempt, Bot, Event, Message, Outcome, Routed, Secret, Target, Verdict
from bridge.storage.database import Database
from bridge.storage.driver import Connection
from bridge.storage.outbox import Outbox
from bridge.storage.queries import AttemptLine, Health, Queries
from bridge.storage.tables import add_event

DEFAULT, DEV = Target("default"), Target("dev")
SENT = Outcome(Verdict.SENT, "ok", "ok", 0)
BUSY = Outcome(Verdict.RETRY, "system_busy", "system busy", -1)
RATED = Outcome(Verdict.REST, "rate_limited", "api freq out of limit", 45009)
STOPPED = Outcome(Verdict.STOP, "invalid_webhook", "invalid webhook url", 93000)
REFUSED = Outcome(Verdict.PARK, "invalid_parameter", "invalid Request Parameter", 40058)


class FakeClient(Client):
    """Takes what it is given to send, and answers as it was set up to."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Message]] = []
        self.answer: Callable[[], Outcome] = lambda: SENT

    def send(self, bot: Bot, message: Message) -> Outcome:
        self.sent.append((bot.name, message))
        return self.answer()


def make_outbox(url: str, bots: Mapping[str, Bot], clock: Clock, **more: Any) -> Outbox:
    """An outbox as each process has one; the end of a test closes it."""
    wanted: dict[str, Any] = {"rate": 18, "max_age": 86400.0, "dedupe": 600.0, **more}
    return Outbox(url, bots, clock=clock, **wanted)


@contextmanager
def busy_writer(database: Database, queued: int) -> Iterator[None]:
    """Keep a database's writer busy until so many wait, who are committed together then."""
    busy, go = threading.Event(), threading.Event()

    def block(connection: Connection) -> None:
        busy.set()
        go.wait(30)

    with ThreadPoolExecutor(1) as pool:
        blocking = pool.submit(database.write, block)
        assert busy.wait(30)
        yield
        until(lambda: database.writer.queued == queued)
        go.set()
        blocking.result()


def put(outbox: Outbox, clock: Clock, *targets: Target, **payload: object) -> int:
    [accepted] = outbox.accept([Routed(event(clock, **payload), targets or (DEFAULT,))])
    return accepted.event


def insert_event(connection: Connection) -> int:
    return add_event(connection, 1.0, 9.0, Event("good", {}, 1.0), ())


def claim(outbox: Outbox, limit: int = 10) -> list[Attempt]:
    """Do what the dispatcher's loop does: maintain, then claim."""
    outbox.maintain()
    return outbox.claim(limit)


def claim_one(outbox: Outbox) -> Attempt:
    [attempt] = claim(outbox)
    return attempt


def rows(outbox: Outbox, table: str = "deliveries") -> list[dict[str, object]]:
    with outbox.database.read() as connection:
        found = connection.execute(f"SELECT * FROM {table} ORDER BY 1")
    return [dict(row) for row in found]  # type: ignore[call-overload]


def attempts(outbox: Outbox, number: int) -> Sequence[AttemptLine]:
    [delivery] = Queries(outbox.database, {}).deliveries(number)
    return delivery.attempts


def states(outbox: Outbox) -> list[object]:
    return [row["state"] for row in rows(outbox)]


def health(outbox: Outbox) -> Health:
    bots = {name: Bot(name, Secret("")) for name in ("default", "dev")}
    return Queries(outbox.database, bots).health()


def is_free_from(outbox: Outbox, clock: Clock, moment: float) -> list[Attempt]:
    """Assert that nothing is claimed until a moment, and return what is claimed then."""
    clock.now = moment - 0.1
    assert claim(outbox) == []
    clock.now = moment
    attempts = claim(outbox)
    assert attempts
    return attempts


def put_many(outbox: Outbox, clock: Clock, count: int, *targets: Target) -> None:
    for n in range(count):
        put(outbox, clock, *targets, n=n)
