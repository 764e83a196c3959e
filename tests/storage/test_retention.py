"""Retention: what was settled long ago goes, what is pending never."""

from collections.abc import Callable

import pytest
from outbox_helpers import DEV, REFUSED, SENT, claim_one, put, rows, states
from support import Clock, event

from bridge.model import Routed
from bridge.storage.driver import Connection
from bridge.storage.operator import Operator
from bridge.storage.outbox import Outbox
from bridge.storage.results import Result
from bridge.storage.retention import prune


def test_settled_history_is_deleted_and_pending_deliveries_never(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock, DEV)
    outbox.record(Result(claim_one(outbox), SENT))
    waiting = put(outbox, clock, DEV, n=2)
    outbox.accept([Routed(event(clock, n=3), ())])
    assert prune(outbox.database, clock()) == 0
    clock.advance(10)
    assert prune(outbox.database, clock()) == 2
    assert prune(outbox.database, clock()) == 1  # the attempt, which nothing belongs to any more
    assert prune(outbox.database, clock()) == 0
    assert [row["id"] for row in rows(outbox, "events")] == [waiting]
    assert states(outbox) == ["pending"]
    assert rows(outbox, "attempts") == []


def test_an_old_event_that_was_settled_lately_is_kept(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock)
    clock.advance(1000)
    outbox.record(Result(claim_one(outbox), SENT))
    assert prune(outbox.database, clock() - 500) == 0
    assert prune(outbox.database, clock() + 1) == 1


def test_what_waits_again_while_old_events_are_looked_for_is_kept(
    outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = put(outbox, clock)
    outbox.record(Result(claim_one(outbox), REFUSED))
    clock.advance(10)
    write, ids = outbox.database.write, [row["id"] for row in rows(outbox)]

    def retried_first(job: Callable[[Connection], object]) -> object:
        monkeypatch.setattr(outbox.database, "write", write)
        assert Operator(outbox.database, 3600.0, clock).retry(ids) == 1  # type: ignore[arg-type]
        return write(job)

    monkeypatch.setattr(outbox.database, "write", retried_first)
    prune(outbox.database, clock())
    assert [row["id"] for row in rows(outbox, "events")] == [number]
    assert states(outbox) == ["pending"]


def test_an_event_number_is_never_used_again(outbox: Outbox, clock: Clock) -> None:
    first = put(outbox, clock)
    outbox.record(Result(claim_one(outbox), SENT))
    clock.advance(10)
    prune(outbox.database, clock())
    assert put(outbox, clock, n=2) > first
