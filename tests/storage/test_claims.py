"""Claims: one sender per bot, in order, at the rate, and what follows from a death."""

from dataclasses import replace

import pytest
from outbox_helpers import (
    BUSY,
    REFUSED,
    SENT,
    attempts,
    claim,
    claim_one,
    health,
    is_free_from,
    make_outbox,
    put,
    put_many,
    rows,
    states,
)
from support import Clock

from bridge.model import Bot, Target
from bridge.storage.claims import LEASE, WINDOW
from bridge.storage.operator import Operator
from bridge.storage.outbox import Outbox
from bridge.storage.results import Result


def test_what_a_dead_process_held_is_taken_over_when_its_lease_ends(
    outbox: Outbox, clock: Clock
) -> None:
    number, began = put(outbox, clock), clock()
    dead = claim_one(outbox)
    clock.advance(LEASE - 1)
    assert claim(outbox) == []
    clock.advance(2)
    heir = claim_one(outbox)
    assert heir.deliveries == dead.deliveries
    interrupted, under_way = attempts(outbox, number)
    assert (interrupted.verdict, interrupted.reason) == ("retry", "interrupted")
    assert (interrupted.started_at, interrupted.ended_at) == (began, began + LEASE)
    assert (under_way.verdict, under_way.started_at) == ("", clock())


def test_a_call_that_was_cut_off_counts_for_the_rate_and_only_once(
    outbox: Outbox, clock: Clock
) -> None:
    began = clock()
    for n in range(18):
        put(outbox, clock, n=n)
        attempt = claim_one(outbox)
        if n < 17:
            outbox.record(Result(attempt, SENT))
    clock.advance(LEASE)
    assert claim(outbox) == []
    assert len(is_free_from(outbox, clock, began + WINDOW)) == 1
    assert [row["reason"] for row in rows(outbox, "attempts")].count("interrupted") == 1


def test_what_a_dead_process_was_sending_may_be_gone(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock)
    claim_one(outbox)
    clock.advance(LEASE)
    for table in ("deliveries", "events"):
        outbox.database.write(lambda c, table=table: c.execute(f"DELETE FROM {table}"))  # type: ignore[misc]
    number = put(outbox, clock, n=2)
    [attempt] = claim(outbox)
    assert attempt.deliveries[0].event.id == number
    assert [row["reason"] for row in rows(outbox, "attempts")] == ["interrupted"]
    assert rows(outbox, "attempt_deliveries") == []


def test_whoever_lost_the_lease_changes_nothing(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock)
    slow = claim_one(outbox)
    clock.advance(LEASE)
    heir = claim_one(outbox)
    assert outbox.record(Result(slow, REFUSED)).lease_lost
    assert states(outbox) == ["pending"]
    outbox.record(Result(heir, SENT))
    assert states(outbox) == ["sent"]
    assert outbox.record(Result(slow, REFUSED)).lease_lost
    assert states(outbox) == ["sent"]


def test_a_lease_of_an_older_version_is_recorded_only_by_the_migration(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock)
    claim_one(outbox)
    outbox.database.write(lambda c: c.execute("UPDATE bots SET lease_delivery_id = 0"))
    clock.advance(LEASE)
    assert len(claim(outbox)) == 1
    assert rows(outbox, "attempts") == []


def test_the_bot_that_waited_longest_is_served_first(
    database_url: str, bots: dict[str, Bot], clock: Clock
) -> None:
    names = [f"b{n}" for n in range(7)]
    known = {name: replace(bots["default"], name=name) for name in names}
    outbox = make_outbox(database_url, known, clock)
    for n in range(3):
        put(outbox, clock, *map(Target, names), n=n)
    served = []
    for limit in (1, 2, 3) * 3:
        claimed = claim(outbox, limit)
        assert len(claimed) == limit
        clock.advance(1)
        for attempt in claimed:
            outbox.record(Result(attempt, SENT))
        served += [attempt.bot for attempt in claimed]
    assert {served.count(name) for name in names} == {2, 3}


def test_bots_that_only_others_know_do_not_hide_those_that_are_known_here(
    database_url: str, bots: dict[str, Bot], clock: Clock
) -> None:
    known = {name: replace(bots["default"], name=name) for name in "abcdefghij"}
    every = make_outbox(database_url, known, clock)
    put(every, clock, *map(Target, known))
    few = {name: known[name] for name in "ehj"}
    outbox = make_outbox(database_url, few, clock)
    assert [attempt.bot for attempt in claim(outbox, 1)] == ["e"]
    assert [attempt.bot for attempt in claim(outbox, 9)] == ["h", "j"]
    assert claim(outbox, 9) == []
    assert [attempt.bot for attempt in claim(every, 9)] == list("abcdfgi")


def test_no_window_holds_more_than_the_rate_for_four_dispatchers(
    database_url: str, bots: dict[str, Bot], clock: Clock
) -> None:
    boxes = [make_outbox(database_url, bots, clock) for _ in range(4)]
    for n in range(150):
        put(boxes[0], clock, n=n)
    calls: list[tuple[float, float]] = []
    for step in range(3000):
        outbox = boxes[step % 4]
        for attempt in claim(outbox):
            began = clock()
            clock.advance((step * 7 % 10) / 4)  # a call takes up to 2.25 s
            outbox.record(Result(attempt, BUSY if step % 17 == 0 else SENT))
            calls.append((began, clock()))
        clock.advance(0.2)
    assert health(boxes[0]).pending == 0
    # WeCom may count a call at any moment between its beginning and its end.
    for arrived in [end for _, end in calls]:
        assert sum(begin - 60 < arrived <= end for begin, end in calls) <= 18 + 1
    assert (
        max(sum(arrived <= begin <= arrived + 60 for begin, _ in calls) for _, arrived in calls)
        <= 18
    )


def test_the_rate_holds_over_a_restart(
    database_url: str, bots: dict[str, Bot], clock: Clock
) -> None:
    outbox = make_outbox(database_url, bots, clock, rate=3)
    for n in range(3):
        put(outbox, clock, n=n)
        outbox.record(Result(claim_one(outbox), SENT))
    put(outbox, clock, n=4)
    assert claim(outbox) == []
    outbox.database.close()
    outbox = make_outbox(database_url, bots, clock, rate=3)
    assert claim(outbox) == []
    clock.advance(WINDOW)
    assert len(claim(outbox)) == 1


def test_refused_calls_count_against_the_rate(outbox: Outbox, clock: Clock) -> None:
    for n in range(18):
        put(outbox, clock, n=n)
        outbox.record(Result(claim_one(outbox), REFUSED))
    put(outbox, clock, n=18)
    assert claim(outbox) == []
    is_free_from(outbox, clock, clock() + WINDOW)


def test_a_call_that_died_counts_against_the_rate(
    database_url: str, bots: dict[str, Bot], clock: Clock
) -> None:
    outbox = make_outbox(database_url, bots, clock, rate=1)
    put(outbox, clock)
    died_at = clock()
    claim_one(outbox)
    clock.advance(LEASE)
    assert claim(outbox) == []
    clock.now = died_at + LEASE + WINDOW
    assert len(claim(outbox)) == 1


def test_the_lease_names_the_delivery_that_was_claimed_whatever_others_settle_meanwhile(
    postgres_url: str, bots: dict[str, Bot], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (make_outbox(postgres_url, bots, clock) for _ in range(2))
    put_many(one, clock, 2)
    operator = Operator(other.database, 86400.0, clock)

    def settle(_size: int) -> str:
        assert operator.mark_done([first["id"]]) == 1  # type: ignore[list-item]
        return "token"

    first = rows(one)[0]
    monkeypatch.setattr("bridge.storage.claims.secrets.token_hex", settle)
    [delivery] = claim_one(one).deliveries
    assert rows(one, "bots")[0]["lease_delivery_id"] == delivery.id
