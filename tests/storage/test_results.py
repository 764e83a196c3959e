"""Results: what an outcome changes, back-off and rest, uploaded files."""

import pytest
from outbox_helpers import (
    BUSY,
    DEFAULT,
    DEV,
    RATED,
    REFUSED,
    SENT,
    attempts,
    claim,
    claim_one,
    is_free_from,
    put,
    put_many,
    rows,
    states,
)
from support import Clock

from bridge.model import Outcome, Target, Verdict
from bridge.storage.outbox import Outbox
from bridge.storage.queries import Queries
from bridge.storage.results import REST, Result, backoff


def test_one_sender_per_bot_and_bots_side_by_side(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, DEFAULT, DEV)
    put(outbox, clock, DEFAULT, DEV, n=2)
    assert sorted(a.bot for a in claim(outbox)) == ["default", "dev"]
    assert claim(outbox) == []


def test_deliveries_of_a_bot_keep_their_order(outbox: Outbox, clock: Clock) -> None:
    numbers = [put(outbox, clock, n=n) for n in range(5)]
    sent = []
    for outcome in (SENT, BUSY, SENT, REFUSED, SENT, SENT, SENT):
        for attempt in claim(outbox):
            sent.append((attempt.deliveries[0].event.id, outcome.verdict))
            outbox.record(Result(attempt, outcome))
        clock.advance(5)
    first, second, third, fourth, fifth = numbers
    assert sent == [
        (first, "sent"),
        (second, "retry"),
        (second, "sent"),
        (third, "park"),
        (fourth, "sent"),
        (fifth, "sent"),
    ]


def test_an_attempt_keeps_what_it_carried(outbox: Outbox, clock: Clock) -> None:
    number = put(outbox, clock)
    first = claim_one(outbox)
    outbox.record(
        Result(first, SENT, unfinished=[first.deliveries[0].id], carried="message markdown")
    )
    outbox.record(Result(claim_one(outbox), SENT, carried="mention"))
    assert [(one.carried, one.count) for one in attempts(outbox, number)] == [
        ("message markdown", 1),
        ("mention", 1),
    ]


def test_a_digest_leads_to_all_that_it_carried(outbox: Outbox, clock: Clock) -> None:
    put_many(outbox, clock, 20)
    outbox.record(Result(claim_one(outbox), SENT))
    outbox.record(Result(claim_one(outbox), SENT, carried="digest markdown"))
    [single], [digest] = attempts(outbox, 1), attempts(outbox, 20)
    assert (single.count, digest.count) == (1, 19)
    queries = Queries(outbox.database, {})
    assert [line.id for line in queries.events_of_attempt(digest.id)] == list(range(2, 21))
    assert queries.events_of_attempt(99) == []


def test_no_more_is_claimed_than_senders_are_free(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, DEFAULT, DEV)
    assert len(claim(outbox, 1)) == 1
    assert len(claim(outbox, 1)) == 1
    assert claim(outbox, 1) == []


def test_a_delivery_comes_again_when_its_back_off_is_over(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock)
    outbox.record(Result(claim_one(outbox), BUSY))
    is_free_from(outbox, clock, clock() + backoff(1, 0.5))


def test_a_further_message_of_a_delivery_comes_next(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock)
    put(outbox, clock, n=2)
    first = claim_one(outbox)
    outbox.record(Result(first, SENT, unfinished=[first.deliveries[0].id]))
    second = claim_one(outbox)
    assert second.deliveries[0].id == first.deliveries[0].id
    assert second.deliveries[0].messages_sent == 1
    outbox.record(Result(second, SENT))
    assert states(outbox) == ["sent", "pending"]


def test_a_refused_further_message_leaves_the_first_standing(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock)
    attempt = claim_one(outbox)
    outbox.record(Result(attempt, SENT, unfinished=[attempt.deliveries[0].id]))
    outbox.record(Result(claim_one(outbox), REFUSED))
    [row] = rows(outbox)
    assert (row["state"], row["reason"]) == ("sent", "invalid_parameter")


def test_a_refused_message_is_parked_with_its_reason(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock)
    attempt = claim_one(outbox)
    outbox.record(Result(attempt, REFUSED, unfinished=[attempt.deliveries[0].id]))
    [row] = rows(outbox)
    assert (row["state"], row["reason"]) == ("parked", "invalid_parameter")
    assert row["settled_at"] == clock()


def test_every_attempt_is_on_record_with_its_outcome(outbox: Outbox, clock: Clock) -> None:
    number, began = put(outbox, clock), clock()
    attempt = claim_one(outbox)
    clock.advance(1)
    [under_way] = attempts(outbox, number)
    assert (under_way.verdict, under_way.started_at) == ("", began)
    outbox.record(Result(attempt, BUSY))
    [done] = attempts(outbox, number)
    assert (done.verdict, done.errcode) == ("retry", -1)
    assert (done.started_at, done.ended_at) == (began, clock())


def test_back_off_doubles_from_two_seconds_to_ten_minutes() -> None:
    assert [backoff(n, 0.5) for n in range(1, 12)] == [
        2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600,
    ]  # fmt: skip
    assert backoff(1, 0.0) == pytest.approx(1.6)
    assert backoff(1, 1.0) == pytest.approx(2.4)
    assert backoff(10**6, 1.0) == 600


def test_failures_in_a_row_wait_longer_and_success_forgets_them(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock)
    waits = []
    for _ in range(3):
        rest_until = outbox.record(Result(claim_one(outbox), BUSY)).rest_until
        waits.append(rest_until - clock())
        assert claim(outbox) == []
        clock.now = rest_until
    assert waits == [2, 4, 8]
    outbox.record(Result(claim_one(outbox), SENT))
    put(outbox, clock, n=2)
    assert outbox.record(Result(claim_one(outbox), BUSY)).rest_until == clock() + 2


def test_wecom_may_ask_for_a_longer_wait_but_not_for_ever(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock)
    asked = Outcome(Verdict.RETRY, "http_429", retry_after=30.0)
    assert outbox.record(Result(claim_one(outbox), asked)).rest_until == clock() + 30
    clock.advance(30)
    endless = Outcome(Verdict.RETRY, "http_429", retry_after=1e9)
    assert outbox.record(Result(claim_one(outbox), endless)).rest_until == clock() + 600


def test_over_the_rate_only_that_bot_rests(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, DEFAULT, DEV)
    put(outbox, clock, DEFAULT, DEV, n=2)
    by_bot = {a.bot: a for a in claim(outbox)}
    assert outbox.record(Result(by_bot["default"], RATED)).rest_until == clock() + REST
    outbox.record(Result(by_bot["dev"], SENT))
    assert [a.bot for a in claim(outbox)] == ["dev"]
    clock.advance(REST)
    assert "default" in [a.bot for a in claim(outbox)]


def test_an_uploaded_file_is_sent_next_and_then_the_delivery_is_done(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock)
    outbox.record(Result(claim_one(outbox), Outcome(Verdict.SENT, "ok", errcode=0, media_id="m1")))
    second = claim_one(outbox)
    assert (second.deliveries[0].media_id, second.deliveries[0].messages_sent) == ("m1", 0)
    outbox.record(Result(second, SENT))
    assert states(outbox) == ["sent"]


def test_an_expired_file_is_uploaded_again_and_one_refused_at_once_is_not(
    outbox: Outbox, clock: Clock
) -> None:
    gone = Outcome(Verdict.PARK, "invalid_media_id", errcode=40007)
    uploaded = Outcome(Verdict.SENT, "ok", errcode=0, media_id="m1")
    put(outbox, clock)
    first = claim_one(outbox)
    outbox.record(Result(first, SENT, unfinished=[first.deliveries[0].id]))
    outbox.record(Result(claim_one(outbox), uploaded))
    clock.advance(80_000)
    outbox.record(Result(claim_one(outbox), gone))
    again = claim_one(outbox)
    assert (again.deliveries[0].media_id, again.deliveries[0].messages_sent) == ("", 1)
    outbox.record(Result(again, uploaded))
    outbox.record(Result(claim_one(outbox), gone))
    [row] = rows(outbox)
    assert (row["state"], row["reason"]) == ("sent", "invalid_media_id")


def test_what_expires_during_the_call_of_its_first_message_ends_with_it(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock, Target("default", ("@all",)))
    clock.advance(86_399.0)
    attempt = claim_one(outbox)
    clock.advance(2.0)
    outbox.maintain()
    assert states(outbox)[0] == "expired"
    outbox.record(Result(attempt, SENT, unfinished=[attempt.deliveries[0].id]))
    outbox.maintain()
    assert states(outbox)[0] == "sent"
    assert rows(outbox)[0]["settled_at"] == clock()
