"""A clock that is set back or forward: no bot stops sending, and none sends more than its rate."""

from dataclasses import replace

import pytest
from outbox_helpers import (
    BUSY,
    DEFAULT,
    RATED,
    SENT,
    STOPPED,
    claim,
    claim_one,
    make_outbox,
    put,
    put_many,
    rows,
    states,
)
from support import Clock

from bridge.model import Bot, Outcome
from bridge.storage import driver as drivers
from bridge.storage.claims import LEASE, WINDOW
from bridge.storage.outbox import Outbox
from bridge.storage.results import Result

RATE = 18


@pytest.mark.parametrize("back", [2.0, 30.0, 300.0, 3600.0, 1e8])
@pytest.mark.parametrize(
    "before", [[SENT], [replace(BUSY) for _ in range(6)], [RATED], [STOPPED]], ids=str
)
def test_no_bot_rests_for_more_than_a_minute_after_a_clock_was_set_back(
    outbox: Outbox, clock: Clock, back: float, before: list[Outcome]
) -> None:
    put_many(outbox, clock, 2)
    for outcome in before:
        [attempt] = [attempt for attempt in claim(outbox) if attempt.bot == "default"]
        recorded = outbox.record(Result(attempt, outcome))
        if outcome is not before[-1]:
            clock.now = recorded.rest_until
    clock.advance(-back)
    claimed = claim(outbox)  # a look, as the dispatcher has one each second
    clock.advance(60.0)
    claimed += claim(outbox)
    assert "default" in [attempt.bot for attempt in claimed]


@pytest.mark.parametrize("back", [5.0, 3600.0])
def test_the_rate_holds_when_a_clock_is_set_back_and_for_no_longer_than_a_window(
    outbox: Outbox, clock: Clock, back: float
) -> None:
    for n in range(RATE):
        put(outbox, clock, n=n)
        outbox.record(Result(claim_one(outbox), SENT))
        clock.advance(0.1)
    put(outbox, clock, n=RATE)
    clock.advance(-back)
    since = clock()
    assert claim(outbox) == []
    clock.now = since + 55.0
    assert claim(outbox) == []
    clock.now = since + WINDOW
    assert len(claim(outbox)) == 1


def test_the_rate_is_no_lower_where_a_call_ends_before_the_clock_step_is_noticed(
    outbox: Outbox, clock: Clock
) -> None:
    for n in range(RATE):
        put(outbox, clock, n=n)
        attempt = claim_one(outbox)
        if n == RATE - 1:
            clock.advance(-3600.0)
        outbox.record(Result(attempt, SENT))
    for n in range(3):
        put(outbox, clock, n=RATE + n)
    assert claim(outbox) == []
    clock.advance(WINDOW)
    for _ in range(3):
        outbox.record(Result(claim_one(outbox), SENT))


def test_a_bot_that_sent_little_sends_at_once_when_the_clock_was_set_back(
    outbox: Outbox, clock: Clock
) -> None:
    for n in range(3 * RATE):
        put(outbox, clock, n=n)
        outbox.record(Result(claim_one(outbox), SENT))
        clock.advance(30.0)
    clock.advance(-3600.0)
    put(outbox, clock, n=-1)
    assert len(claim(outbox)) == 1


def test_the_rate_holds_when_a_clock_jumps_forward_and_back(outbox: Outbox, clock: Clock) -> None:
    began = clock()
    for n in range(RATE):
        if n == RATE // 2:
            clock.advance(3600.0)
        put(outbox, clock, n=n)
        outbox.record(Result(claim_one(outbox), SENT))
    clock.now = began + 1.0
    put(outbox, clock, n=RATE)
    for _ in range(3):
        assert claim(outbox) == []
    clock.advance(WINDOW)
    assert len(claim(outbox)) == 1


@pytest.mark.parametrize("back", [13.0, 3600.0])
def test_a_dead_process_keeps_its_lease_no_longer_for_a_clock_that_was_set_back(
    outbox: Outbox, clock: Clock, back: float
) -> None:
    number = put(outbox, clock)
    claim_one(outbox)
    clock.advance(-back)
    assert claim(outbox) == []
    clock.advance(LEASE + 1.0)
    assert claim_one(outbox).deliveries[0].event.id == number


def test_a_call_under_way_is_not_made_twice_when_the_clock_is_set_back(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock)
    attempt = claim_one(outbox)
    clock.advance(-3600.0)
    for _ in range(int(LEASE)):
        assert claim(outbox) == []
        clock.advance(1.0)
    assert not outbox.record(Result(attempt, SENT)).lease_lost
    assert states(outbox) == ["sent"]
    [row] = rows(outbox, "attempts")
    assert row["started_at"] <= row["ended_at"] == clock()  # type: ignore[operator]


def test_clocks_that_differ_by_less_than_a_second_change_nothing(
    database_url: str, bots: dict[str, Bot], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    late = Clock(clock.now - 0.9)
    ahead, behind = (make_outbox(database_url, bots, each) for each in (clock, late))
    put(ahead, clock, DEFAULT)
    ahead.record(Result(claim_one(ahead), SENT))
    before = rows(ahead, "bots")
    assert claim(behind) == []
    assert rows(ahead, "bots") == before
    assert "set back" not in caplog.text


def test_notices_are_not_withheld_longer_by_a_clock_that_was_set_back(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock, DEFAULT)
    outbox.record(Result(claim_one(outbox), STOPPED))
    outbox.record(Result(claim_one(outbox), SENT))  # the notice, at dev
    clock.advance(-1800.0)
    claim(outbox)
    clock.advance(3601.0)
    outbox.record(Result(claim_one(outbox), STOPPED))
    assert [row["type"] for row in rows(outbox, "events")].count("botStopped") == 2


def test_the_same_payload_is_no_duplicate_of_one_from_before_a_clock_was_set_back(
    outbox: Outbox, clock: Clock
) -> None:
    first = put(outbox, clock)
    clock.advance(1800.0 - 3600.0)
    second = put(outbox, clock)
    assert second != first
    clock.advance(599.0)
    assert put(outbox, clock) == second


def test_after_its_machine_slept_a_process_leaves_the_leases_of_others_alone(
    postgres_url: str, bots: dict[str, Bot], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "ASK_EVERY", -1.0)  # the database's clock is read each time
    one, other = (
        Outbox(postgres_url, bots, rate=RATE, max_age=86400.0, dedupe=0.0) for _ in range(2)
    )
    clock = Clock(one.database.time())
    put(one, clock)
    attempt = claim_one(one)
    assert other.claim(1) == []
    before = rows(one, "bots")
    for look in (other.maintain, lambda: other.claim(1)):
        other.database._clock_ahead -= 3600.0  # no time has passed for a machine that slept
        look()
    assert rows(one, "bots") == before
    assert not one.record(Result(attempt, SENT)).lease_lost
