"""When an event last came, and which apps have become silent."""

import pytest
from outbox_helpers import put
from support import Clock

from bridge.model import Event, Routed
from bridge.storage import queries as module
from bridge.storage.operator import Operator
from bridge.storage.outbox import Outbox
from bridge.storage.queries import Queries, SilentApp

DAY = 86400.0


@pytest.fixture
def queries(outbox: Outbox) -> Queries:
    return Queries(outbox.database, {})


def report(outbox: Outbox, clock: Clock, *days_ago: float, title: str = "商城") -> None:
    """Let an app have had an event so many days ago."""
    for days in days_ago:
        payload = {"title": title, "n": days}
        event = Event("updateVersion", payload, clock() - days * DAY, b"{}")
        outbox.accept([Routed(event, ())])


def silent(queries: Queries, clock: Clock) -> list[str]:
    return [app.title for app in queries.silent_apps(clock())]


def test_the_latest_event_is_the_newest_that_came_from_outside(
    outbox: Outbox, queries: Queries, clock: Clock
) -> None:
    assert queries.latest_event() is None
    report(outbox, clock, 3, 2)
    Operator(outbox.database, 3600.0, clock).send_test("dev")
    latest = queries.latest_event()
    assert latest
    assert (latest.id, latest.received_at) == (2, clock() - 2 * DAY)
    assert latest.fields["title"] == "商城"


@pytest.mark.parametrize(
    ("days_ago", "is_silent"),
    [
        ((20, 18, 16), True),
        ((20, 18, 13), True),  # every 3.5 days: after 10.5 days
        ((20, 18, 10), False),  # every 5 days: not before 15
        ((9.6, 8.6, 7.4), True),
        ((9.6, 8.6, 6.9), False),  # less than a week
        ((20, 16), False),  # two days are no habit
        ((16.2, 16.1, 16), False),  # nor is one
        ((20, 18, 16, 0.1), False),
    ],
)
def test_an_app_is_silent_after_three_times_its_usual_gap_and_a_week(
    outbox: Outbox, queries: Queries, clock: Clock, days_ago: tuple[float, ...], is_silent: bool
) -> None:
    report(outbox, clock, *days_ago)
    assert silent(queries, clock) == (["商城"] if is_silent else [])


def test_each_app_has_a_habit_of_its_own_and_the_longest_silent_is_first(
    outbox: Outbox, queries: Queries, clock: Clock
) -> None:
    report(outbox, clock, 14, 12, 10, title="A")
    report(outbox, clock, 25, 22, 19, title="B")
    report(outbox, clock, 4, 2, 0, title="C")
    report(outbox, clock, 24, 22, 20, title="")
    assert queries.silent_apps(clock()) == [
        SilentApp("B", clock() - 19 * DAY, 3 * DAY),
        SilentApp("A", clock() - 10 * DAY, 2 * DAY),
    ]


def test_no_more_than_the_latest_events_are_looked_at(
    outbox: Outbox, queries: Queries, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(outbox, clock, 14, 12, 10)
    monkeypatch.setattr(module, "SCAN", 10)
    assert silent(queries, clock) == ["商城"]
    for n in range(10):
        put(outbox, clock, n=n)
    assert silent(queries, clock) == []
    assert queries.latest_event() is None
