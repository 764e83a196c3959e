"""Short ways to use an outbox in a test."""

from collections.abc import Callable, Sequence

from support import Clock, event

from bridge.delivery.wecom import Client
from bridge.model import Attempt, Bot, Message, Outcome, Routed, Secret, Target, Verdict
from bridge.storage.outbox import Outbox
from bridge.storage.queries import AttemptLine, Health, Queries

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


def put(outbox: Outbox, clock: Clock, *targets: Target, **payload: object) -> int:
    [accepted] = outbox.accept([Routed(event(clock, **payload), targets or (DEFAULT,))])
    return accepted.event


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
