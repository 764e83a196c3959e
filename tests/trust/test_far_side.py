"""WeCom misbehaves in every way, is away for hours, and the clock jumps: by an injected clock.

Outbox, renderer, sender and HTTP client are the bridge's own; the sandbox has the same clock.
"""

import logging
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import pytest
from support import ROOT, Clock
from trust.load import DEFAULT, DEV, Figure, titles
from trust.scale import scaled

from bridge.delivery.sender import Call, Sender
from bridge.delivery.wecom import Client
from bridge.messages.renderer import Renderer
from bridge.model import Bot, Event, Routed, Secret, Target
from bridge.sandbox import Sandbox, serve
from bridge.sandbox.faults import NAMES
from bridge.storage.outbox import Outbox

EVENTS = scaled(150, 20_000)
SEED = 29
ERRCODES = ("-1", "45009", "45033", "93000", "40058", "44004", "987654", "-2")
MAX_AGE = 86_400.0
RATE = 18


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@dataclass
class World:
    """A bridge and its WeCom, in which time passes only by `advance`."""

    clock: Clock
    box: Sandbox
    outbox: Outbox
    sender: Sender
    ids: dict[str, int]

    def accept(self, number: int, *bots: str) -> None:
        title = f"t{number}x{number}z"
        event = Event("updateVersion", {"type": "updateVersion", "title": title}, self.clock())
        [accepted] = self.outbox.accept([Routed(event, [Target(bot) for bot in bots])])
        self.ids[title] = accepted.event

    def dispatch(self) -> bool:
        self.outbox.maintain()
        attempts = self.outbox.claim(10)
        for attempt in attempts:
            self.sender.send(attempt, Call())
        return bool(attempts)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def settle(self, seconds: float) -> float:
        """Go on until nothing is pending, for at most so many seconds; return how many."""
        began = self.clock()
        while self.pending():
            assert self.clock() - began < seconds, f"{self.pending()} are pending still"
            if not self.dispatch():
                self.advance(5.0)
        return self.clock() - began

    def pending(self) -> int:
        return self.states()["pending"]

    def states(self) -> Counter[str]:
        query = "SELECT state, count(*) AS count FROM deliveries GROUP BY state"
        with self.outbox.database.read() as connection:
            return Counter({row["state"]: row["count"] for row in connection.execute(query)})

    def refused_for_rate(self) -> int:
        return sum(call.errcode == 45009 and not call.fault for call in self.box.calls)


@pytest.fixture
def world(database_url: str, clock: Clock) -> Iterator[World]:
    box = Sandbox({DEFAULT: "default", DEV: "dev"}, clock=clock)
    with serve(box) as url:
        box.released.set()  # nothing waits: what hangs or drips is cut off at once
        bots = {
            name: Bot(name, Secret(f"{url}/cgi-bin/webhook/send?key=key-of-{name}"))
            for name in ("default", "dev")
        }
        outbox = Outbox(
            database_url, bots, rate=RATE, max_age=MAX_AGE, dedupe=600.0, clock=clock,
            jitter=random.Random(SEED).random,
        )  # fmt: skip
        renderer = Renderer(ROOT / "templates", ZoneInfo("Asia/Shanghai"))
        sender = Sender(outbox, renderer, Client(), bots, clock, clock.advance)
        yield World(clock, box, outbox, sender, {})


@pytest.mark.parametrize("fault", ["502", "45009", "93000"])
def test_six_hours_without_wecom_delay_every_event_and_lose_none(
    fault: str, world: World, figure: Figure
) -> None:
    for key in (DEFAULT, DEV):
        world.box.fault(key, fault, always=True)
    for minute in range(6 * 60):
        if minute % 10 == 0:
            world.accept(minute, "default", "dev")
        world.dispatch()
        world.advance(60.0)
    world.box.clear_faults()
    # A bot that was stopped is tried each hour, any other at most 10 minutes after a failure.
    took = world.settle(3700.0 if fault == "93000" else 700.0)
    for key in (DEFAULT, DEV):
        seen = titles(world.box, key)
        assert Counter(seen) == Counter(world.ids.keys())
    assert world.states().keys() == {"sent"}
    assert not world.refused_for_rate()
    figure(f"WeCom away for 6 h ({fault}): all sent within {took / 60:.0f} min of its return")


@pytest.mark.parametrize("jumps", [False, True], ids=["steady clock", "clock jumps"])
def test_random_faults_end_each_delivery_in_a_known_state(
    jumps: bool, world: World, figure: Figure
) -> None:
    dice = random.Random(SEED)
    print(f"seed {SEED}")
    every = [*sorted(NAMES), *ERRCODES]
    for number in range(EVENTS):
        world.accept(number, *dice.choice([("default",), ("dev",), ("default", "dev")]))
        key = dice.choice([DEFAULT, DEV])
        if dice.random() < 0.5 and not world.box.robots[key].faults:
            world.box.fault(key, dice.choice(every))
        if dice.random() < 0.2:  # nobody waits an hour for it: an operator sets a new key
            world.outbox.resume(dice.choice(["default", "dev"]))
        world.dispatch()
        world.advance(dice.choice([0.1, 1.0, 5.0, 30.0]))
        if jumps and dice.random() < 0.02:
            world.advance(dice.choice([-3600.0, -70.0, -5.0, 70.0, 3600.0]))
    world.box.clear_faults()
    for bot in ("default", "dev"):
        world.outbox.resume(bot)
    world.settle(2 * 3600.0)
    states = world.states()
    assert states.keys() <= {"sent", "parked", "expired"}
    assert not states["expired"] or jumps
    seen = {key: Counter(titles(world.box, key)) for key in (DEFAULT, DEV)}
    query = (
        "SELECT title, bot, state FROM deliveries JOIN events ON events.id = event_id "
        "WHERE title != ''"
    )
    with world.outbox.database.read() as connection:
        for row in connection.execute(query):
            came = seen[f"key-of-{row['bot']}"][row["title"]]
            assert came or row["state"] != "sent", f"{row['title']} was never sent"
    unheard = {key: Counter(titles(world.box, key, "lost")) for key in (DEFAULT, DEV)}
    for key, counts in seen.items():
        more = {title: n - 1 - unheard[key][title] for title, n in counts.items()}
        assert max(more.values()) <= 0, f"sent twice for no reason: {more}"
    lost, twice = (sum(map(Counter.total, found)) for found in (unheard.values(), seen.values()))
    twice -= sum(map(len, seen.values()))
    if not jumps:
        assert not world.refused_for_rate(), "WeCom's own limit was met"
    figure(
        f"random faults ({'clock jumps' if jumps else 'steady clock'}): {EVENTS} events, "
        f"{len(world.box.calls)} calls, {dict(states)}; {lost} messages whose "
        f"answer was lost, {twice} messages came twice"
    )
