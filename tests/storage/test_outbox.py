"""The outbox by a clock that stands still: what is stored, claimed, settled, expired, pruned."""

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from outbox_helpers import (
    BUSY,
    DEFAULT,
    DEV,
    RATED,
    REFUSED,
    SENT,
    STOPPED,
    attempts,
    claim,
    claim_one,
    due,
    history,
    put,
    rows,
    states,
)
from support import Clock, event, until

from bridge.errors import StorageError
from bridge.model import Attempt, Bot, Event, Outcome, Secret, Target, Verdict
from bridge.storage import outbox as outboxes
from bridge.storage.claims import LEASE, REST, STOPPED_RETRY, WINDOW, backoff
from bridge.storage.database import Connection, Database
from bridge.storage.operator import Operator
from bridge.storage.outbox import Outbox
from bridge.storage.queries import HOLD
from bridge.storage.tables import event_row, store


def test_what_was_accepted_is_claimed_with_its_whole_event(outbox: Outbox, clock: Clock) -> None:
    target = Target("default", ("wang", "@all"), "crashlog-short")
    number = put(outbox, clock, target, notes="修复", odd={"a": [1, 2.5, True]})
    [delivery] = claim_one(outbox).deliveries
    assert delivery.event.id == number
    assert delivery.event.type == "updateVersion"
    assert delivery.event.payload == {
        "type": "updateVersion",
        "title": "OooPlay",
        "notes": "修复",
        "odd": {"a": [1, 2.5, True]},
    }
    assert delivery.event.received_at == clock()
    assert delivery.target == target
    assert delivery.messages_sent == 0


def test_an_event_for_nobody_is_kept_and_not_told(outbox: Outbox, clock: Clock) -> None:
    outbox.accept([(event(clock), ())])
    assert len(rows(outbox, "events")) == 1
    assert claim(outbox) == []


def test_events_of_one_body_are_stored_together(outbox: Outbox, clock: Clock) -> None:
    told = [(event(clock, n=n), (DEFAULT, DEV)) for n in range(3)]
    accepted = outbox.accept(told)
    assert len({a.event for a in accepted}) == 3
    assert len(rows(outbox)) == 6


# Dedupe


def test_the_same_payload_again_is_told_once(outbox: Outbox, clock: Clock) -> None:
    first = put(outbox, clock, timestamp=1)
    clock.advance(599)
    [again] = outbox.accept([(event(clock, timestamp=600), (DEFAULT,))])
    assert (again.event, again.duplicate) == (first, True)
    assert len(rows(outbox)) == 1


def test_after_the_window_the_same_payload_is_news(outbox: Outbox, clock: Clock) -> None:
    first = put(outbox, clock)
    clock.advance(600)
    assert put(outbox, clock) != first


@pytest.mark.parametrize("change", [{"title": "Other"}, {"build_version": "2"}, {"updated": "x"}])
def test_any_other_field_makes_it_another_event(
    outbox: Outbox, clock: Clock, change: dict[str, object]
) -> None:
    assert put(outbox, clock) != put(outbox, clock, **change)


def test_the_same_payload_for_other_bots_is_another_event(outbox: Outbox, clock: Clock) -> None:
    one = outbox.accept([(event(clock), (DEV,))], ["dev"])
    two = outbox.accept([(event(clock), (DEFAULT,))], ["default"])
    three = outbox.accept([(event(clock), (DEFAULT, DEV))], ["dev", "default"])
    again = outbox.accept([(event(clock), (DEFAULT, DEV))], ["default", "dev"])
    assert len({a[0].event for a in (one, two, three)}) == 3
    assert again[0].duplicate and again[0].event == three[0].event


def test_the_order_of_keys_does_not_make_another_event(outbox: Outbox, clock: Clock) -> None:
    one = event(clock)
    turned = type(one)(one.type, dict(reversed(one.payload.items())), one.received_at)
    outbox.accept([(one, (DEFAULT,))])
    assert outbox.accept([(turned, (DEFAULT,))])[0].duplicate


def test_equal_events_in_one_body_are_told_once(outbox: Outbox, clock: Clock) -> None:
    accepted = outbox.accept([(event(clock), (DEFAULT,)), (event(clock), (DEFAULT,))])
    assert [a.duplicate for a in accepted] == [False, True]


def test_dedupe_can_be_switched_off(database_url: str, bots: dict[str, Bot], clock: Clock) -> None:
    outbox = Outbox(database_url, bots, rate=18, max_age=9.0, dedupe=0.0, clock=clock)
    assert put(outbox, clock) != put(outbox, clock)
    outbox.database.close()


def test_many_at_once_with_the_same_payload_are_told_once(outbox: Outbox, clock: Clock) -> None:
    with ThreadPoolExecutor(16) as pool:
        numbers = list(pool.map(lambda _: put(outbox, clock), range(64)))
    assert len(set(numbers)) == 1
    assert len(rows(outbox)) == 1


# Claiming and settling


def test_one_sender_per_bot_and_bots_side_by_side(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, DEFAULT, DEV)
    put(outbox, clock, DEFAULT, DEV, n=2)
    assert sorted(a.bot for a in claim(outbox)) == ["default", "dev"]
    assert claim(outbox) == []


def test_deliveries_of_a_bot_keep_their_order(outbox: Outbox, clock: Clock) -> None:
    numbers = [put(outbox, clock, n=n) for n in range(5)]
    told = []
    for outcome in (SENT, BUSY, SENT, REFUSED, SENT, SENT, SENT):
        for attempt in claim(outbox):
            told.append((attempt.deliveries[0].event.id, outcome.verdict))
            outbox.settle(attempt, outcome)
        clock.advance(5)
    first, second, third, fourth, fifth = numbers
    assert told == [
        (first, "sent"),
        (second, "retry"),
        (second, "sent"),
        (third, "park"),
        (fourth, "sent"),
        (fifth, "sent"),
    ]


def test_no_more_is_claimed_than_senders_are_free(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, DEFAULT, DEV)
    assert len(claim(outbox, 1)) == 1
    assert due(outbox) == clock()
    assert len(claim(outbox, 1)) == 1


def test_claim_says_when_to_look_again(outbox: Outbox, clock: Clock) -> None:
    assert due(outbox) == float("inf")
    put(outbox, clock)
    attempt = claim_one(outbox)
    assert due(outbox) == clock() + LEASE
    outbox.settle(attempt, BUSY)
    assert due(outbox) == clock() + backoff(1, 0.5)


def test_a_further_message_of_a_delivery_comes_next(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock)
    put(outbox, clock, n=2)
    first = claim_one(outbox)
    outbox.settle(first, SENT, unfinished=[first.deliveries[0].id])
    second = claim_one(outbox)
    assert second.deliveries[0].id == first.deliveries[0].id
    assert second.deliveries[0].messages_sent == 1
    outbox.settle(second, SENT)
    assert states(outbox) == ["sent", "pending"]


def test_a_refused_further_message_leaves_the_first_standing(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock)
    attempt = claim_one(outbox)
    outbox.settle(attempt, SENT, unfinished=[attempt.deliveries[0].id])
    outbox.settle(claim_one(outbox), REFUSED)
    [row] = rows(outbox)
    assert (row["state"], row["reason"]) == ("sent", "invalid_parameter")


def test_a_refused_message_is_parked_with_its_reason(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock)
    attempt = claim_one(outbox)
    outbox.settle(attempt, REFUSED, unfinished=[attempt.deliveries[0].id])
    [row] = rows(outbox)
    assert (row["state"], row["reason"]) == ("parked", "invalid_parameter")
    assert row["settled_at"] == clock()


def test_every_attempt_is_on_record_with_its_outcome(outbox: Outbox, clock: Clock) -> None:
    number, began = put(outbox, clock), clock()
    attempt = claim_one(outbox)
    clock.advance(1)
    [under_way] = attempts(outbox, number)
    assert (under_way.verdict, under_way.started_at) == ("", began)
    outbox.settle(attempt, BUSY)
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
        rest_until = outbox.settle(claim_one(outbox), BUSY).rest_until
        assert rest_until is not None
        waits.append(rest_until - clock())
        assert claim(outbox) == []
        clock.now = rest_until
    assert waits == [2, 4, 8]
    outbox.settle(claim_one(outbox), SENT)
    put(outbox, clock, n=2)
    assert outbox.settle(claim_one(outbox), BUSY).rest_until == clock() + 2


def test_wecom_may_ask_for_a_longer_wait_but_not_for_ever(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock)
    asked = Outcome(Verdict.RETRY, "http_429", retry_after=30.0)
    assert outbox.settle(claim_one(outbox), asked).rest_until == clock() + 30
    clock.advance(30)
    endless = Outcome(Verdict.RETRY, "http_429", retry_after=1e9)
    assert outbox.settle(claim_one(outbox), endless).rest_until == clock() + 600


def test_over_the_rate_only_that_bot_rests(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, DEFAULT, DEV)
    put(outbox, clock, DEFAULT, DEV, n=2)
    by_bot = {a.bot: a for a in claim(outbox)}
    assert outbox.settle(by_bot["default"], RATED).rest_until == clock() + REST
    outbox.settle(by_bot["dev"], SENT)
    assert [a.bot for a in claim(outbox)] == ["dev"]
    clock.advance(REST)
    assert "default" in [a.bot for a in claim(outbox)]


# Death and leases


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
            outbox.settle(attempt, SENT)
    clock.advance(LEASE)
    assert claim(outbox) == []
    assert due(outbox) == began + WINDOW
    clock.now = began + WINDOW
    assert len(claim(outbox)) == 1
    assert [row["reason"] for row in rows(outbox, "attempts")].count("interrupted") == 1


def test_what_a_dead_process_was_telling_may_be_gone(outbox: Outbox, clock: Clock) -> None:
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
    assert outbox.settle(slow, REFUSED).rest_until is None
    assert states(outbox) == ["pending"]
    outbox.settle(heir, SENT)
    assert states(outbox) == ["sent"]
    assert outbox.settle(slow, REFUSED).rest_until is None
    assert states(outbox) == ["sent"]


def test_a_lease_of_an_older_version_is_recorded_only_by_the_migration(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock)
    claim_one(outbox)
    outbox.database.write(lambda connection: connection.execute("UPDATE bots SET telling = 0"))
    clock.advance(LEASE)
    assert len(claim(outbox)) == 1
    assert rows(outbox, "attempts") == []


# Turns


def test_bots_are_told_in_turns(database_url: str, bots: dict[str, Bot], clock: Clock) -> None:
    names = [f"b{n}" for n in range(7)]
    known = {name: replace(bots["default"], name=name) for name in names}
    outbox = Outbox(database_url, known, rate=18, max_age=86400.0, dedupe=0.0, clock=clock)
    for n in range(3):
        put(outbox, clock, *map(Target, names), n=n)
    told = []
    for limit in (1, 2, 3) * 3:
        claimed = claim(outbox, limit)
        assert len(claimed) == limit
        for attempt in claimed:
            outbox.settle(attempt, SENT)
        told += [attempt.bot for attempt in claimed]
    assert told == (names * 3)[:18]
    assert [attempt.bot for attempt in claim(outbox, 9)] == [*names[4:], *names[:4]][:3]
    outbox.database.close()


def test_bots_that_only_others_know_do_not_hide_those_that_are_known_here(
    database_url: str, bots: dict[str, Bot], clock: Clock
) -> None:
    known = {name: replace(bots["default"], name=name) for name in "abcdefghij"}
    every = Outbox(database_url, known, rate=18, max_age=86400.0, dedupe=0.0, clock=clock)
    put(every, clock, *map(Target, known))
    few = {name: known[name] for name in "ehj"}
    outbox = Outbox(database_url, few, rate=18, max_age=86400.0, dedupe=0.0, clock=clock)
    assert [attempt.bot for attempt in claim(outbox, 1)] == ["e"]
    assert [attempt.bot for attempt in claim(outbox, 9)] == ["h", "j"]
    assert claim(outbox, 9) == []
    assert [attempt.bot for attempt in claim(every, 9)] == list("abcdfgi")
    outbox.database.close()
    every.database.close()


def test_who_goes_on_is_given_what_is_next_with_the_settlement(
    outbox: Outbox, clock: Clock
) -> None:
    for n in range(2):
        put(outbox, clock, DEFAULT, DEV, n=n)
    [attempt] = claim(outbox, 1)
    told = []
    following: Attempt | None = attempt
    while following:
        told.append((following.bot, following.deliveries[0].event.payload["n"]))
        following = outbox.settle(following, SENT, go_on=True).following
    assert told == [("default", 0), ("dev", 0), ("default", 1), ("dev", 1)]
    assert states(outbox) == ["sent"] * 4


def test_of_those_who_settle_together_each_that_goes_on_is_given_another(
    database_url: str, bots: dict[str, Bot], clock: Clock
) -> None:
    known = {f"b{n}": replace(bots["default"], name=f"b{n}") for n in range(9)}
    outbox = Outbox(database_url, known, rate=18, max_age=86400.0, dedupe=0.0, clock=clock)
    put(outbox, clock, *map(Target, known))
    first = claim(outbox, 6)
    blocked, go = threading.Event(), threading.Event()

    def block(connection: Connection) -> None:
        blocked.set()
        go.wait(30)

    with ThreadPoolExecutor(9) as pool:
        held = pool.submit(outbox.database.write, block)
        assert blocked.wait(30)
        settled = [
            pool.submit(outbox.settle, attempt, SENT, go_on=n % 3 > 0)
            for n, attempt in enumerate(first)
        ]
        until(lambda: len(outbox.database._waiting) == 6)
        go.set()
        held.result()
        following = [one.result().following for one in settled]
    assert [one is None for one in following[::3]] == [True, True]
    given = [one for one in following if one]
    assert sorted(one.bot for one in given) == ["b6", "b7", "b8"]
    assert {len(one.deliveries) for one in given} == {1}
    outbox.database.close()


def test_who_goes_on_is_given_nothing_while_something_has_expired(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock, DEFAULT)
    clock.advance(86_400 - 2)
    put(outbox, clock, DEV)
    attempt = next(one for one in claim(outbox) if one.bot == "dev")
    put(outbox, clock, DEV, n=2)
    clock.advance(2)
    settled = outbox.settle(attempt, SENT, go_on=True)
    assert settled.following is None
    assert states(outbox) == ["pending", "sent", "pending"]


def test_a_digest_is_next_too_and_where_it_cannot_be_read_it_comes_again(
    outbox: Outbox,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put(outbox, clock, DEFAULT)
    first = claim_one(outbox)
    waiting(outbox, clock, 3, Target("dev", not_before=clock() + 5))
    clock.advance(5)
    digest = outbox.settle(first, SENT, go_on=True).following
    assert digest
    assert len(digest.deliveries) == 3
    outbox.settle(digest, BUSY)
    put(outbox, clock, DEFAULT, n=9)
    second = claim_one(outbox)
    clock.advance(backoff(1, 0.5))

    def broken(*_: object) -> list[Attempt]:
        raise StorageError("too many clients")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(outbox, "_read", broken)
        assert outbox.settle(second, SENT, go_on=True) == outboxes.Settled(0.0)
    assert "bot dev: what it is told next could not be read (too many clients)" in caplog.text
    clock.advance(LEASE)
    assert len(claim_one(outbox).deliveries) == 3


# Rate


def test_no_window_holds_more_than_the_rate_for_four_dispatchers(
    database_url: str, bots: dict[str, Bot], clock: Clock
) -> None:
    url = database_url
    boxes = [Outbox(url, bots, rate=18, max_age=86400.0, dedupe=0.0, clock=clock) for _ in range(4)]
    for n in range(150):
        put(boxes[0], clock, n=n)
    calls: list[tuple[float, float]] = []
    for step in range(3000):
        outbox = boxes[step % 4]
        for attempt in claim(outbox):
            began = clock()
            clock.advance((step * 7 % 10) / 4)  # a call takes up to 2.25 s
            outbox.settle(attempt, BUSY if step % 17 == 0 else SENT)
            calls.append((began, clock()))
        clock.advance(0.2)
    assert history(boxes[0]).health().pending == 0
    # WeCom may count a call at any moment between its beginning and its end.
    for arrived in [end for _, end in calls]:
        assert sum(begin - 60 < arrived <= end for begin, end in calls) <= 18 + 1
    assert (
        max(sum(arrived <= begin <= arrived + 60 for begin, _ in calls) for _, arrived in calls)
        <= 18
    )
    for box in boxes:
        box.database.close()


def test_the_rate_holds_over_a_restart(
    database_url: str, bots: dict[str, Bot], clock: Clock
) -> None:
    def start() -> Outbox:
        return Outbox(database_url, bots, rate=3, max_age=86400.0, dedupe=0.0, clock=clock)

    outbox = start()
    for n in range(3):
        put(outbox, clock, n=n)
        outbox.settle(claim_one(outbox), SENT)
    put(outbox, clock, n=4)
    assert claim(outbox) == []
    outbox.database.close()
    outbox = start()
    assert claim(outbox) == []
    clock.advance(WINDOW)
    assert len(claim(outbox)) == 1
    outbox.database.close()


def test_refused_calls_count_against_the_rate(outbox: Outbox, clock: Clock) -> None:
    for n in range(18):
        put(outbox, clock, n=n)
        outbox.settle(claim_one(outbox), REFUSED)
    put(outbox, clock, n=18)
    assert claim(outbox) == []
    assert due(outbox) == clock() + WINDOW


def test_a_call_that_died_counts_against_the_rate(
    database_url: str, bots: dict[str, Bot], clock: Clock
) -> None:
    outbox = Outbox(database_url, bots, rate=1, max_age=86400.0, dedupe=0.0, clock=clock)
    put(outbox, clock)
    died_at = clock()
    claim_one(outbox)
    clock.advance(LEASE)
    assert claim(outbox) == []
    clock.now = died_at + LEASE + WINDOW
    assert len(claim(outbox)) == 1
    outbox.database.close()


# Stopped bots


def bot_row(outbox: Outbox, name: str) -> dict[str, object]:
    return next(row for row in rows(outbox, "bots") if row["name"] == name)


def alarms(outbox: Outbox, kind: str = "botStopped") -> list[dict[str, object]]:
    return [row for row in rows(outbox, "events") if row["type"] == kind]


def test_a_stopped_bot_keeps_its_deliveries_and_default_hears_of_it(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock, DEV)
    assert outbox.settle(claim_one(outbox), STOPPED).rest_until == clock() + STOPPED_RETRY
    alarm = claim_one(outbox)
    assert alarm.bot == "default"
    assert alarm.deliveries[0].event.type == "botStopped"
    assert alarm.deliveries[0].event.payload["bot"] == "dev"
    assert history(outbox).health().stopped == {"dev": "invalid_webhook"}
    assert states(outbox)[0] == "pending"


def test_if_default_is_the_dead_one_any_other_hears_of_it(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, DEFAULT)
    outbox.settle(claim_one(outbox), STOPPED)
    assert claim_one(outbox).bot == "dev"


def test_with_nobody_left_to_tell_the_log_says_so(
    outbox: Outbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, clock, DEV)
    outbox.settle(claim_one(outbox), STOPPED)
    outbox.settle(claim_one(outbox), STOPPED)  # the alarm itself, at default
    assert "there is no other bot to tell it to" in caplog.text
    assert claim(outbox) == []


def test_an_alarm_comes_at_most_once_an_hour(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, DEV)
    outbox.settle(claim_one(outbox), STOPPED)
    outbox.settle(claim_one(outbox), SENT)
    clock.advance(STOPPED_RETRY - 1)
    assert claim(outbox) == []
    clock.advance(1)
    outbox.settle(claim_one(outbox), STOPPED)
    assert len(alarms(outbox)) == 2


def test_a_stopped_bot_that_answers_again_is_no_longer_stopped(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock, DEV)
    outbox.settle(claim_one(outbox), STOPPED)
    outbox.settle(claim_one(outbox), SENT)
    clock.advance(STOPPED_RETRY)
    outbox.settle(claim_one(outbox), SENT)
    assert history(outbox).health().stopped == {}


def test_a_passing_failure_does_not_hide_that_a_bot_is_stopped(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock, DEV)
    outbox.settle(claim_one(outbox), STOPPED)
    outbox.settle(claim_one(outbox), SENT)
    clock.advance(STOPPED_RETRY)
    outbox.settle(claim_one(outbox), BUSY)
    assert history(outbox).health().stopped == {"dev": "invalid_webhook"}


def test_a_stopped_bot_is_tried_when_told_to(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, DEV)
    outbox.settle(claim_one(outbox), STOPPED)
    outbox.settle(claim_one(outbox), SENT)
    assert outbox.resume("dev")
    assert claim_one(outbox).bot == "dev"
    assert not outbox.resume("nobody")


@pytest.mark.parametrize(("key", "tried"), [("new-key", True), ("key-of-dev", False)])
def test_a_stopped_bot_is_tried_when_its_key_has_changed(
    database_url: str, bots: dict[str, Bot], outbox: Outbox, clock: Clock, key: str, tried: bool
) -> None:
    put(outbox, clock, DEV)
    outbox.settle(claim_one(outbox), STOPPED)
    outbox.settle(claim_one(outbox), SENT)
    dev = Bot("dev", Secret(f"http://wecom.invalid/cgi-bin/webhook/send?key={key}"))
    restarted = Outbox(
        database_url,
        {**bots, "dev": dev},
        rate=18,
        max_age=86400.0,
        dedupe=600.0,
        clock=clock,
    )
    restarted.open()
    assert [a.bot for a in claim(restarted)] == (["dev"] if tried else [])
    restarted.database.close()


TABLES = ("events", "deliveries", "bots", "attempts", "attempt_deliveries")


def test_no_key_stands_in_the_database(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, DEFAULT, DEV)
    for attempt in claim(outbox):
        outbox.settle(attempt, STOPPED)
    stored = [row for table in TABLES for row in rows(outbox, table)]
    assert len(stored) >= 8
    assert "key-of-" not in repr(stored)


# Age


def test_what_is_too_old_expires_and_a_notice_says_how_many(outbox: Outbox, clock: Clock) -> None:
    for n in range(3):
        put(outbox, clock, DEV, n=n)
    clock.advance(86400)
    assert claim(outbox) == []  # what this round finds is too old
    notice = claim_one(outbox)
    assert states(outbox)[:3] == ["expired"] * 3
    assert notice.bot == "dev"
    assert notice.deliveries[0].event.payload == {"bot": "dev", "count": 3, "hours": 24.0}


def test_notices_of_expiry_come_at_most_once_an_hour_and_count_all(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock, DEV)
    outbox.settle(claim_one(outbox), STOPPED)
    outbox.settle(claim_one(outbox), SENT)  # the alarm
    clock.advance(60)
    put(outbox, clock, DEV, n=2)
    put(outbox, clock, DEV, n=3)
    clock.advance(86400 - 60)
    claim(outbox)
    by_bot = {attempt.bot: attempt for attempt in claim(outbox)}
    assert by_bot["default"].deliveries[0].event.payload["count"] == 1
    outbox.settle(by_bot["default"], SENT)
    outbox.settle(by_bot["dev"], STOPPED)
    outbox.settle(claim_one(outbox), SENT)  # the alarm of that
    clock.advance(60)
    claim(outbox)
    assert claim(outbox) == []
    assert history(outbox).health().pending == 0
    clock.advance(3600)
    claim(outbox)
    assert claim_one(outbox).deliveries[0].event.payload["count"] == 2


def test_a_notice_that_expires_makes_no_further_notice(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, DEV)
    for _ in range(4):
        clock.advance(86400)
        claim(outbox)
    assert len(alarms(outbox, "expired")) == 1


def test_news_of_a_stopped_bot_go_to_default(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, DEV)
    outbox.settle(claim_one(outbox), STOPPED)
    outbox.settle(claim_one(outbox), SENT)
    clock.advance(86400)
    claim(outbox)
    assert claim_one(outbox).bot == "default"


def test_what_waits_for_a_bot_that_is_no_longer_configured_expires_too(
    database_url: str, bots: dict[str, Bot], outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock, DEV)
    left = Outbox(
        database_url,
        {"default": bots["default"]},
        rate=18,
        max_age=86400.0,
        dedupe=600.0,
        clock=clock,
    )
    assert claim(left) == []
    clock.advance(86400)
    claim(left)
    assert claim_one(left).bot == "default"
    left.database.close()


# Queries


def test_settled_history_is_deleted_and_pending_deliveries_never(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock, DEV)
    outbox.settle(claim_one(outbox), SENT)
    waiting = put(outbox, clock, DEV, n=2)
    outbox.accept([(event(clock, n=3), ())])
    kept = history(outbox)
    assert kept.prune(clock()) == 0
    clock.advance(10)
    assert kept.prune(clock()) == 2
    assert kept.prune(clock()) == 1  # the attempt, which nothing belongs to any more
    assert kept.prune(clock()) == 0
    assert [row["id"] for row in rows(outbox, "events")] == [waiting]
    assert states(outbox) == ["pending"]
    assert rows(outbox, "attempts") == []


def test_an_old_event_that_was_settled_lately_is_kept(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock)
    clock.advance(1000)
    outbox.settle(claim_one(outbox), SENT)
    assert history(outbox).prune(clock() - 500) == 0
    assert history(outbox).prune(clock() + 1) == 1


def test_the_longer_a_batch_takes_the_fewer_are_in_the_next(
    outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(200):
        outbox.accept([(event(clock, n=n), ())])
    clock.advance(10)
    kept = history(outbox)
    seconds = iter([0.0, HOLD / 20, 0.0, HOLD / 20, 0.0, 2 * HOLD, 0.0, 9.0, 0.0, HOLD])
    monkeypatch.setattr("bridge.storage.queries.time.perf_counter", lambda: next(seconds))
    assert [kept.prune(clock()) for _ in range(5)] == [20, 40, 80, 40, 1]


def test_what_waits_again_while_old_events_are_looked_for_is_kept(
    outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = put(outbox, clock)
    outbox.settle(claim_one(outbox), REFUSED)
    clock.advance(10)
    write, ids = outbox.database.write, [row["id"] for row in rows(outbox)]

    def retried_first(job: Callable[[Connection], object], *, durable: bool) -> object:
        monkeypatch.setattr(outbox.database, "write", write)
        assert Operator(outbox.database, 3600.0, clock).retry(ids) == 1  # type: ignore[arg-type]
        return write(job, durable=durable)

    monkeypatch.setattr(outbox.database, "write", retried_first)
    history(outbox).prune(clock())
    assert [row["id"] for row in rows(outbox, "events")] == [number]
    assert states(outbox) == ["pending"]


def test_an_event_number_is_never_used_again(outbox: Outbox, clock: Clock) -> None:
    first = put(outbox, clock)
    outbox.settle(claim_one(outbox), SENT)
    clock.advance(10)
    history(outbox).prune(clock())
    assert put(outbox, clock, n=2) > first


# The writer


@pytest.mark.parametrize("fails", [ZeroDivisionError, StorageError])
def test_a_write_that_fails_does_not_harm_those_committed_with_it(
    database_url: str, fails: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(database_url)
    blocked, go = threading.Event(), threading.Event()

    def block(connection: Connection) -> None:
        blocked.set()
        go.wait(30)

    def insert_event(connection: Connection) -> None:
        store(connection, 1.0, 9.0, event_row(Event("good", {}, 1.0)), ())

    def broken(connection: Connection) -> None:
        insert_event(connection)
        if fails is ZeroDivisionError:
            raise ZeroDivisionError
        # PostgreSQL says so only when it is asked to commit.
        connection.execute("UPDATE events SET type = NULL")

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(database.write, block)
        assert blocked.wait(30)
        together = [pool.submit(database.write, job) for job in (insert_event, broken)]
        until(lambda: len(database._waiting) == 2)
        go.set()
        first.result()
        together[0].result()
        with pytest.raises(fails):
            together[1].result()
    assert not caplog.records  # the driver keeps quiet about what its caller hears of
    with database.read() as connection:
        assert len(connection.execute("SELECT 1 FROM events")) == 1
    database.close()


def test_what_waits_for_a_thread_that_ends_all_of_a_sudden_is_not_taken_for_written(
    database_url: str,
) -> None:
    database = Database(database_url)
    blocked, go = threading.Event(), threading.Event()

    def block(connection: Connection) -> None:
        blocked.set()
        go.wait(30)

    def end(connection: Connection) -> None:
        raise SystemExit

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(database.write, block)
        assert blocked.wait(30)
        two = [pool.submit(database.write, end)]
        until(lambda: len(database._waiting) == 1)
        two.append(pool.submit(database.write, lambda connection: None))
        until(lambda: len(database._waiting) == 2)
        go.set()
        first.result()
        with pytest.raises(SystemExit):
            two[0].result()
        with pytest.raises(StorageError, match="cut off"):
            two[1].result()
    assert database.write(lambda connection: 7) == 7
    database.close()


def test_a_database_that_takes_no_write_is_a_storage_error_until_it_does(tmp_path: Path) -> None:
    folder = tmp_path / "not-there-yet"
    database = Database(f"sqlite:///{folder}/x.db")
    with pytest.raises(StorageError, match="unable to open"):
        database.write(lambda connection: None)
    with pytest.raises(StorageError), database.read():
        pass
    folder.mkdir()
    assert database.write(lambda connection: 7) == 7
    database.close()


def test_a_closed_database_takes_no_more_writes(outbox: Outbox, clock: Clock) -> None:
    outbox.database.close()
    with pytest.raises(StorageError, match="closed"):
        put(outbox, clock)


# Digests and quiet hours


def waiting(outbox: Outbox, clock: Clock, count: int, *targets: Target) -> None:
    for n in range(count):
        put(outbox, clock, *targets, n=n)


def test_the_first_event_of_a_quiet_bot_goes_alone_however_many_wait(
    outbox: Outbox, clock: Clock
) -> None:
    waiting(outbox, clock, 50)
    assert len(claim_one(outbox).deliveries) == 1


def test_more_than_the_rate_lets_through_is_told_together(outbox: Outbox, clock: Clock) -> None:
    waiting(outbox, clock, 19)
    outbox.settle(claim_one(outbox), SENT)
    attempt = claim_one(outbox)  # 18 wait and 17 may go
    assert len(attempt.deliveries) == 18
    outbox.settle(attempt, SENT)
    assert states(outbox) == ["sent"] * 19


def test_as_many_as_the_rate_lets_through_go_one_by_one(outbox: Outbox, clock: Clock) -> None:
    waiting(outbox, clock, 18)
    for _ in range(18):
        attempt = claim_one(outbox)
        assert len(attempt.deliveries) == 1
        outbox.settle(attempt, SENT)
    assert states(outbox) == ["sent"] * 18


def test_what_a_digest_had_no_room_for_stays(outbox: Outbox, clock: Clock) -> None:
    waiting(outbox, clock, 30)
    outbox.settle(claim_one(outbox), SENT)
    attempt = claim_one(outbox)
    outbox.settle(attempt, SENT, told=attempt.deliveries[:10])
    assert states(outbox) == ["sent"] * 11 + ["pending"] * 19
    assert claim_one(outbox).deliveries[0].id == attempt.deliveries[10].id
    digest = max(row["id"] for row in rows(outbox, "attempts"))
    links = rows(outbox, "attempt_deliveries")
    assert [row["delivery_id"] for row in links if row["attempt_id"] == digest] == [
        delivery.id for delivery in attempt.deliveries[:10]
    ]


def test_a_digest_that_fails_is_told_again_whole(outbox: Outbox, clock: Clock) -> None:
    waiting(outbox, clock, 30)
    outbox.settle(claim_one(outbox), SENT)
    attempt = claim_one(outbox)
    outbox.settle(attempt, BUSY)
    clock.advance(2)
    assert claim_one(outbox).deliveries == attempt.deliveries


def test_the_events_of_a_digest_hold_what_it_shows(outbox: Outbox, clock: Clock) -> None:
    fields = {"title": "A", "device_type": "iOS", "os_version": "1", "build_version": "2"}
    for n in range(20):
        put(outbox, clock, **fields, notes="n" * 500, message="m", link="https://a.b", n=n)
    outbox.settle(claim_one(outbox), SENT)
    shown = claim_one(outbox).deliveries[0].event
    assert shown.type == "updateVersion"
    assert shown.payload == {**fields, "link": "https://a.b", "notes": "n" * 300}


def test_a_delivery_on_its_way_is_not_told_once_more_in_a_digest(
    outbox: Outbox, clock: Clock
) -> None:
    waiting(outbox, clock, 30)
    first = claim_one(outbox)
    outbox.settle(first, SENT, unfinished=[first.deliveries[0].id])
    second = claim_one(outbox)
    assert [d.messages_sent for d in second.deliveries] == [1]
    outbox.settle(second, SENT)
    assert first.deliveries[0].id not in {d.id for d in claim_one(outbox).deliveries}


def test_what_is_held_is_told_as_a_digest_when_its_quiet_hours_end(
    database_url: str, bots: dict[str, Bot], outbox: Outbox, clock: Clock
) -> None:
    held = Target("default", not_before=clock() + 3600)
    waiting(outbox, clock, 3, held)
    urgent = put(outbox, clock, DEFAULT, title="urgent")
    attempt = claim_one(outbox)
    assert [d.event.id for d in attempt.deliveries] == [urgent]
    outbox.settle(attempt, SENT)
    assert claim(outbox) == []
    assert due(outbox) == clock() + 3600
    outbox.database.close()
    restarted = Outbox(
        database_url,
        bots,
        rate=18,
        max_age=86400.0,
        dedupe=600.0,
        clock=clock,
    )
    clock.advance(3599)
    assert claim(restarted) == []
    clock.advance(1)
    assert len(claim_one(restarted).deliveries) == 3
    restarted.database.close()


def test_what_is_held_does_not_grow_too_old_meanwhile(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, Target("default", not_before=clock() + 80_000))
    clock.advance(86_400)
    assert states(outbox) == ["pending"]
    assert len(claim_one(outbox).deliveries) == 1


# Files


def test_an_uploaded_file_is_sent_next_and_then_the_delivery_is_done(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock)
    outbox.settle(claim_one(outbox), Outcome(Verdict.SENT, "ok", errcode=0, media_id="m1"))
    second = claim_one(outbox)
    assert (second.deliveries[0].media_id, second.deliveries[0].messages_sent) == ("m1", 0)
    outbox.settle(second, SENT)
    assert states(outbox) == ["sent"]


def test_an_expired_file_is_uploaded_again_and_one_refused_at_once_is_not(
    outbox: Outbox, clock: Clock
) -> None:
    gone = Outcome(Verdict.PARK, "invalid_media_id", errcode=40007)
    uploaded = Outcome(Verdict.SENT, "ok", errcode=0, media_id="m1")
    put(outbox, clock)
    first = claim_one(outbox)
    outbox.settle(first, SENT, unfinished=[first.deliveries[0].id])
    outbox.settle(claim_one(outbox), uploaded)
    clock.advance(80_000)
    outbox.settle(claim_one(outbox), gone)
    again = claim_one(outbox)
    assert (again.deliveries[0].media_id, again.deliveries[0].messages_sent) == ("", 1)
    outbox.settle(again, uploaded)
    outbox.settle(claim_one(outbox), gone)
    [row] = rows(outbox)
    assert (row["state"], row["reason"]) == ("sent", "invalid_media_id")


def test_what_is_written_is_on_disk_before_anybody_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine cannot be stopped here, so this counts what SQLite's log is synced for."""
    synced: list[int] = []

    def sync(log: int) -> None:
        synced.append(os.fstat(log).st_size)

    monkeypatch.setattr("bridge.storage.database._sync", sync)
    database = Database(f"sqlite:///{tmp_path}/x.db")
    database.write(lambda connection: None)
    assert len(synced) == 1
    assert synced[0] > 0
    database.write(lambda connection: None, durable=False)
    assert len(synced) == 1
    database.sync()
    assert len(synced) == 2
    database.close()
    database.sync()  # without a log, all is in the database


def test_a_disk_that_fails_is_reported_to_whoever_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(log: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    database = Database(f"sqlite:///{tmp_path}/x.db")
    database.write(lambda connection: None)
    with monkeypatch.context() as patch:
        patch.setattr("bridge.storage.database._sync", broken)
        with pytest.raises(StorageError, match=r"may not be on disk: .*I/O error"):
            database.write(lambda connection: None)
    database.write(lambda connection: None)
    database.close()


def test_retention_empties_the_log_itself_so_that_no_commit_has_to(
    tmp_path: Path, bots: dict[str, Bot], clock: Clock
) -> None:
    outbox = Outbox(
        f"sqlite:///{tmp_path}/x.db", bots, rate=2, max_age=3600.0, dedupe=0.0, clock=clock
    )
    for n in range(5):
        outbox.accept([(event(clock, n=n), ())])
    clock.advance(1000)
    assert history(outbox).prune(clock()) == 5
    size = (tmp_path / "x.db-wal").stat().st_size
    outbox.accept([(event(clock), ())])
    assert (tmp_path / "x.db-wal").stat().st_size == size  # the log began anew
    outbox.database.close()
