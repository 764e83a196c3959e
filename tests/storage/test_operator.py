"""A test message goes before what waits, and at once where its bot is stopped."""

import pytest
from outbox_helpers import (
    BUSY,
    RATED,
    REFUSED,
    SENT,
    STOPPED,
    attempts,
    claim,
    claim_one,
    health,
    is_free_from,
    put,
    put_many,
    rows,
    states,
)
from support import Clock

from bridge.model import Attempt
from bridge.storage.claims import LEASE
from bridge.storage.operator import Operator
from bridge.storage.outbox import Outbox
from bridge.storage.results import REST, STOPPED_RETRY, Result


@pytest.fixture
def operator(outbox: Outbox, clock: Clock) -> Operator:
    return Operator(outbox.database, 86400.0, clock)


def claimed_by_default(outbox: Outbox) -> Attempt:
    """Claim what `default` sends next, whatever others do."""
    [attempt] = [attempt for attempt in claim(outbox) if attempt.bot == "default"]
    return attempt


def events_of(attempt: Attempt) -> list[int | None]:
    return [delivery.event.id for delivery in attempt.deliveries]


def test_a_stopped_bot_sends_its_test_message_at_once_and_before_what_waits(
    outbox: Outbox, operator: Operator, clock: Clock
) -> None:
    waiting = put(outbox, clock)
    outbox.record(Result(claim_one(outbox), STOPPED))
    assert [attempt.bot for attempt in claim(outbox)] == ["dev"]  # which sends the notice
    test = operator.send_test("default")
    attempt = claim_one(outbox)
    assert events_of(attempt) == [test]
    outbox.record(Result(attempt, SENT, carried="message markdown"))
    assert [one.verdict for one in attempts(outbox, test)] == ["sent"]
    assert events_of(claim_one(outbox)) == [waiting]


def test_a_bot_that_is_still_gone_answers_its_test_message_and_stays_stopped(
    outbox: Outbox, operator: Operator, clock: Clock
) -> None:
    put(outbox, clock)
    outbox.record(Result(claim_one(outbox), STOPPED))
    test = operator.send_test("default")
    assert rows(outbox, "bots")[0]["stopped"] == "invalid_webhook"
    outbox.record(Result(claimed_by_default(outbox), STOPPED))
    [attempt] = attempts(outbox, test)
    assert (attempt.errcode, attempt.reason) == (93000, "invalid_webhook")
    assert [row["type"] for row in rows(outbox, "events")].count("botStopped") == 1
    clock.advance(STOPPED_RETRY)
    assert events_of(claimed_by_default(outbox)) == [test]


def test_a_bot_that_backs_off_tries_its_test_message_at_once(
    outbox: Outbox, operator: Operator, clock: Clock
) -> None:
    put(outbox, clock)
    outbox.record(Result(claim_one(outbox), BUSY))
    assert claim(outbox) == []
    test = operator.send_test("default")
    assert events_of(claim_one(outbox)) == [test]


def test_a_bot_over_wecom_s_rate_still_waits_for_its_end(
    outbox: Outbox, operator: Operator, clock: Clock
) -> None:
    put(outbox, clock)
    outbox.record(Result(claim_one(outbox), RATED))
    test = operator.send_test("default")
    [attempt] = is_free_from(outbox, clock, clock() + REST)
    assert events_of(attempt) == [test]


def test_a_test_message_is_never_part_of_a_digest(
    outbox: Outbox, operator: Operator, clock: Clock
) -> None:
    put_many(outbox, clock, 30)
    outbox.record(Result(claim_one(outbox), SENT))
    test = operator.send_test("default")
    attempt = claim_one(outbox)
    assert events_of(attempt) == [test]
    outbox.record(Result(attempt, SENT))
    assert len(claim_one(outbox).deliveries) == 29


def test_a_test_message_whose_process_died_is_taken_over(
    outbox: Outbox, operator: Operator, clock: Clock
) -> None:
    put(outbox, clock)
    test = operator.send_test("default")
    claim_one(outbox)
    clock.advance(LEASE)
    assert events_of(claim_one(outbox)) == [test]
    interrupted, under_way = attempts(outbox, test)
    assert (interrupted.reason, interrupted.carried) == ("interrupted", "")
    assert under_way.verdict == ""


def test_a_test_message_that_was_marked_as_done_holds_nothing_up(
    outbox: Outbox, operator: Operator, clock: Clock
) -> None:
    waiting = put(outbox, clock)
    operator.send_test("default")
    assert operator.mark_done([2]) == 1
    assert events_of(claim_one(outbox)) == [waiting]
    assert states(outbox) == ["pending", "expired"]


def test_what_is_retried_waits_since_then(outbox: Outbox, operator: Operator, clock: Clock) -> None:
    put(outbox, clock)
    outbox.record(Result(claim_one(outbox), REFUSED))
    clock.advance(2 * 86400.0)
    assert operator.retry([1]) == 1
    assert health(outbox).oldest == clock()


def test_an_event_that_was_deleted_meanwhile_is_sent_to_nobody(
    outbox: Outbox, operator: Operator, clock: Clock
) -> None:
    event_id = put(outbox, clock)
    operator.send_again(event_id, ["dev"])
    assert states(outbox) == ["pending", "pending"]
    operator.send_again(event_id + 1, ["dev"])
    assert states(outbox) == ["pending", "pending"]
