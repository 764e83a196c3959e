"""Accepting events: what is stored, and what is a duplicate."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from outbox_helpers import DEFAULT, DEV, claim, claim_one, make_outbox, put, rows
from support import Clock, event

from bridge.model import NAMED, Bot, Routed, StoredEvent, Target
from bridge.storage.operator import Operator
from bridge.storage.outbox import Outbox
from bridge.storage.queries import Queries


def stored(outbox: Outbox, number: int) -> StoredEvent:
    found = Queries(outbox.database, {}).event(number)
    assert found
    return found


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
    outbox.accept([Routed(event(clock), ())])
    assert len(rows(outbox, "events")) == 1
    assert claim(outbox) == []


def test_events_of_one_body_are_stored_together(outbox: Outbox, clock: Clock) -> None:
    given = [Routed(event(clock, n=n), (DEFAULT, DEV)) for n in range(3)]
    accepted = outbox.accept(given)
    assert len({a.event for a in accepted}) == 3
    assert len(rows(outbox)) == 6


def test_the_same_payload_again_is_told_once(outbox: Outbox, clock: Clock) -> None:
    first = put(outbox, clock, timestamp=1)
    clock.advance(599)
    [again] = outbox.accept([Routed(event(clock, timestamp=600), (DEFAULT,))])
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
    one = outbox.accept([Routed(event(clock), (DEV,), [NAMED])])
    two = outbox.accept([Routed(event(clock), (DEFAULT,), [NAMED])])
    three = outbox.accept([Routed(event(clock), (DEV, DEFAULT), [NAMED])])
    again = outbox.accept([Routed(event(clock), (DEFAULT, DEV), [NAMED])])
    assert len({a[0].event for a in (one, two, three)}) == 3
    assert again[0].duplicate and again[0].event == three[0].event


def test_the_order_of_keys_does_not_make_another_event(outbox: Outbox, clock: Clock) -> None:
    one = event(clock)
    turned = type(one)(one.type, dict(reversed(one.payload.items())), one.received_at)
    outbox.accept([Routed(one, (DEFAULT,))])
    assert outbox.accept([Routed(turned, (DEFAULT,))])[0].duplicate


def test_equal_events_in_one_body_are_told_once(outbox: Outbox, clock: Clock) -> None:
    accepted = outbox.accept([Routed(event(clock), (DEFAULT,))] * 2)
    assert [a.duplicate for a in accepted] == [False, True]


def test_duplicates_are_counted_at_the_event_that_they_repeat(outbox: Outbox, clock: Clock) -> None:
    first, other = put(outbox, clock), put(outbox, clock, n=2)
    again = Routed(event(clock), (DEFAULT,))
    outbox.accept([again, Routed(event(clock, n=3), (DEFAULT,)), again])
    outbox.accept([again])
    assert [stored(outbox, n).duplicates for n in (first, other)] == [3, 0]


def test_an_event_keeps_by_which_rules_it_was_routed(outbox: Outbox, clock: Clock) -> None:
    wanted: list[Sequence[int | str]] = [[], [3], ["url"], ["url", 1, 12]]
    routed = [Routed(event(clock, n=n), (), rules) for n, rules in enumerate(wanted)]
    found = [stored(outbox, accepted.event).rules for accepted in outbox.accept(routed)]
    assert found == wanted
    own = Operator(outbox.database, 3600.0, clock).send_test("dev")
    assert stored(outbox, own).rules is None


def test_dedupe_can_be_switched_off(database_url: str, bots: dict[str, Bot], clock: Clock) -> None:
    outbox = make_outbox(database_url, bots, clock, dedupe=0.0)
    assert put(outbox, clock) != put(outbox, clock)


def test_many_at_once_with_the_same_payload_are_told_once_and_all_counted(
    outbox: Outbox, clock: Clock
) -> None:
    with ThreadPoolExecutor(16) as pool:
        [number] = set(pool.map(lambda _: put(outbox, clock), range(64)))
    assert len(rows(outbox)) == 1
    assert stored(outbox, number).duplicates == 63
