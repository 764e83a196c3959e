"""Digests: which deliveries go into one message, and quiet hours."""

from dataclasses import replace

import pytest
from outbox_helpers import (
    BUSY,
    DEFAULT,
    SENT,
    claim,
    claim_one,
    make_outbox,
    put,
    put_many,
    rows,
    states,
)
from support import Clock

from bridge.model import Bot, Target
from bridge.storage.outbox import Outbox
from bridge.storage.results import Result


def test_the_first_event_of_a_quiet_bot_goes_alone_however_many_wait(
    outbox: Outbox, clock: Clock
) -> None:
    put_many(outbox, clock, 50)
    assert len(claim_one(outbox).deliveries) == 1


def test_more_than_the_rate_lets_through_is_told_together(outbox: Outbox, clock: Clock) -> None:
    put_many(outbox, clock, 19)
    outbox.record(Result(claim_one(outbox), SENT))
    attempt = claim_one(outbox)  # 18 wait and 17 may go
    assert len(attempt.deliveries) == 18
    outbox.record(Result(attempt, SENT))
    assert states(outbox) == ["sent"] * 19


def test_as_many_as_the_rate_lets_through_go_one_by_one(outbox: Outbox, clock: Clock) -> None:
    put_many(outbox, clock, 18)
    for _ in range(18):
        attempt = claim_one(outbox)
        assert len(attempt.deliveries) == 1
        outbox.record(Result(attempt, SENT))
    assert states(outbox) == ["sent"] * 18


def test_what_a_digest_had_no_room_for_stays(outbox: Outbox, clock: Clock) -> None:
    put_many(outbox, clock, 30)
    outbox.record(Result(claim_one(outbox), SENT))
    attempt = claim_one(outbox)
    outbox.record(Result(replace(attempt, deliveries=attempt.deliveries[:10]), SENT))
    assert states(outbox) == ["sent"] * 11 + ["pending"] * 19
    assert claim_one(outbox).deliveries[0].id == attempt.deliveries[10].id
    digest = max(row["id"] for row in rows(outbox, "attempts"))
    links = rows(outbox, "attempt_deliveries")
    assert [row["delivery_id"] for row in links if row["attempt_id"] == digest] == [
        delivery.id for delivery in attempt.deliveries[:10]
    ]


def test_a_digest_that_fails_is_told_again_whole(outbox: Outbox, clock: Clock) -> None:
    put_many(outbox, clock, 30)
    outbox.record(Result(claim_one(outbox), SENT))
    attempt = claim_one(outbox)
    outbox.record(Result(attempt, BUSY))
    clock.advance(2)
    assert claim_one(outbox).deliveries == attempt.deliveries


def test_the_events_of_a_digest_hold_what_it_shows(outbox: Outbox, clock: Clock) -> None:
    fields = {"title": "A", "device_type": "iOS", "os_version": "1", "build_version": "2"}
    for n in range(20):
        put(outbox, clock, **fields, notes="n" * 500, message="m", link="https://a.b", n=n,
            action="应用更新")  # fmt: skip
    outbox.record(Result(claim_one(outbox), SENT))
    shown = claim_one(outbox).deliveries[0].event
    assert shown.type == "updateVersion"
    assert shown.payload == {
        **fields,
        "action": "应用更新",
        "link": "https://a.b",
        "notes": "n" * 300 + "…（已截断，共 500 字）",
    }


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        ({"notes": "n" * 300}, "n" * 300),
        ({"notes": "n" * 301}, "n" * 300 + "…（已截断，共 301 字）"),
        ({"message": "m"}, "m"),
        ({"begins": "<xml>"}, "<xml>"),  # of a body that cannot be decoded
        ({}, ""),
    ],
)
def test_a_digest_has_the_notes_and_where_there_are_none_what_says_most(
    payload: dict[str, object], shown: str, outbox: Outbox, clock: Clock
) -> None:
    for n in range(20):
        put(outbox, clock, **payload, n=n)
    outbox.record(Result(claim_one(outbox), SENT))
    assert claim_one(outbox).deliveries[0].event.payload["notes"] == shown


def test_a_delivery_on_its_way_is_not_told_once_more_in_a_digest(
    outbox: Outbox, clock: Clock
) -> None:
    put_many(outbox, clock, 30)
    first = claim_one(outbox)
    outbox.record(Result(first, SENT, unfinished=[first.deliveries[0].id]))
    second = claim_one(outbox)
    assert [d.messages_sent for d in second.deliveries] == [1]
    outbox.record(Result(second, SENT))
    assert first.deliveries[0].id not in {d.id for d in claim_one(outbox).deliveries}


def test_what_is_held_is_told_as_a_digest_when_its_quiet_hours_end(
    database_url: str, bots: dict[str, Bot], outbox: Outbox, clock: Clock
) -> None:
    held = Target("default", not_before=clock() + 3600)
    put_many(outbox, clock, 3, held)
    urgent = put(outbox, clock, DEFAULT, title="urgent")
    attempt = claim_one(outbox)
    assert [d.event.id for d in attempt.deliveries] == [urgent]
    outbox.record(Result(attempt, SENT))
    assert claim(outbox) == []
    outbox.database.close()
    restarted = make_outbox(database_url, bots, clock)
    clock.advance(3599)
    assert claim(restarted) == []
    clock.advance(1)
    assert len(claim_one(restarted).deliveries) == 3


def test_what_is_held_does_not_grow_too_old_meanwhile(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, Target("default", not_before=clock() + 80_000))
    clock.advance(86_400)
    assert states(outbox) == ["pending"]
    assert len(claim_one(outbox).deliveries) == 1
