"""The dispatcher's loop where something inside the bridge itself goes wrong."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from outbox_helpers import put, rows, states
from prometheus_client import REGISTRY
from support import ROOT, Clock, event, until

from bridge.delivery import dispatcher as dispatchers
from bridge.delivery.dispatcher import PRUNE_EVERY, RECORD_TRIES, Dispatcher
from bridge.delivery.wecom import Client
from bridge.errors import StorageError
from bridge.messages.renderer import Renderer
from bridge.model import Bot, Message, Outcome, Target, Verdict
from bridge.storage.claims import LEASE
from bridge.storage.outbox import Outbox, Settled
from bridge.storage.queries import Queries


class FakeClient(Client):
    """Takes what it is given to send, and answers as told."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Message]] = []
        self.answer: Callable[[], Outcome] = lambda: Outcome(Verdict.SENT, "ok", "ok", 0)

    def send(self, bot: Bot, message: Message) -> Outcome:
        self.sent.append((bot.name, message))
        return self.answer()


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def dispatcher(
    outbox: Outbox, client: FakeClient, bots: dict[str, Bot], clock: Clock
) -> Iterator[Dispatcher]:
    renderer = Renderer(ROOT / "templates", ZoneInfo("Asia/Shanghai"))
    history = Queries(outbox.database, bots)
    loop = Dispatcher(outbox, renderer, client, bots, history, 30 * 86400.0, clock)
    yield loop
    loop.stop()


def test_a_new_event_is_told_at_once(
    dispatcher: Dispatcher, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    dispatcher.start()
    put(outbox, clock)
    dispatcher.wake(["default"])
    until(lambda: states(outbox) == ["sent"])
    assert [name for name, _ in client.sent] == ["default"]


def test_the_log_names_no_more_bots_than_one_can_read(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatchers, "NAMED", 1)
    caplog.set_level("INFO")
    dispatcher.start()
    until(lambda: "dispatching for default and 1 more" in caplog.text)


def test_a_mistake_of_ours_parks_the_delivery_and_the_next_goes_on(
    dispatcher: Dispatcher,
    outbox: Outbox,
    client: FakeClient,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers: Iterator[Outcome] = iter([Outcome(Verdict.SENT, "ok")])

    def answer() -> Outcome:
        if len(client.sent) == 1:
            raise ZeroDivisionError
        return next(answers)

    client.answer = answer
    put(outbox, clock)
    put(outbox, clock, n=2)
    dispatcher.start()
    until(lambda: states(outbox) == ["parked", "sent"])
    assert rows(outbox)[0]["reason"] == "internal_error"
    assert "our own mistake" in caplog.text


def test_the_loop_goes_on_after_whatever_it_stumbles_over(
    dispatcher: Dispatcher,
    outbox: Outbox,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    claim = outbox.claim
    troubles = iter([StorageError("disk full"), ZeroDivisionError()])

    def stumbling(limit: int) -> object:
        for trouble in troubles:
            raise trouble
        return claim(limit)

    monkeypatch.setattr(outbox, "claim", stumbling)
    put(outbox, clock)
    dispatcher.start()
    for _ in range(3):
        dispatcher.wake(["default"])
    until(lambda: states(outbox) == ["sent"])
    assert "the outbox cannot be used: disk full" in caplog.text
    assert "stumbled" in caplog.text


class Recording:
    """Fails as told where an outcome is to be recorded, and counts what is asked for."""

    def __init__(self, outbox: Outbox, troubles: list[Exception]) -> None:
        self._settle, self._troubles = outbox.settle, troubles
        self.asked: list[bool] = []  # whether the sender meant to go on

    def __call__(self, *what: Any, go_on: bool) -> Settled:
        self.asked.append(go_on)
        if self._troubles:
            raise self._troubles.pop(0)
        return self._settle(*what, go_on=go_on)


@pytest.mark.parametrize("trouble", [StorageError("disk full"), KeyError("disk full")], ids=repr)
def test_an_outcome_that_cannot_be_recorded_is_tried_again_without_a_claim(
    dispatcher: Dispatcher,
    outbox: Outbox,
    client: FakeClient,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: Exception,
) -> None:
    monkeypatch.setattr(dispatchers, "TROUBLE", 0.001)
    put(outbox, clock)
    [attempt] = outbox.claim(1)
    recording = Recording(outbox, [trouble])
    monkeypatch.setattr(outbox, "settle", recording)
    dispatcher.tell(attempt)
    assert states(outbox) == ["sent"]
    assert recording.asked == [True, False]
    assert len(client.sent) == 1
    assert "disk full" in caplog.text
    assert "could not be recorded" in caplog.text
    assert "; recorded again in" in caplog.text


def test_an_outcome_that_cannot_be_recorded_at_all_is_said_and_sent_again(
    dispatcher: Dispatcher,
    outbox: Outbox,
    client: FakeClient,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(dispatchers, "TROUBLE", 0.001)
    put(outbox, clock)
    [attempt] = outbox.claim(1)
    recording = Recording(outbox, [StorageError("disk full") for _ in range(RECORD_TRIES)])
    monkeypatch.setattr(outbox, "settle", recording)
    dispatcher.tell(attempt)
    assert "ok, but it could not be recorded (disk full); it is sent again" in caplog.text
    assert states(outbox) == ["pending"]
    clock.advance(LEASE)
    dispatcher.run_once()
    until(lambda: states(outbox) == ["sent"])
    assert len(client.sent) == 2


def test_a_sender_goes_on_with_what_is_due_without_the_loop(
    dispatcher: Dispatcher, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    for n in range(3):
        put(outbox, clock, Target("default"), Target("dev"), n=n)
    [attempt] = outbox.claim(1)
    dispatcher.tell(attempt)
    assert states(outbox) == ["sent"] * 6
    assert [name for name, _ in client.sent] == ["default", "dev"] * 3
    assert dispatcher._wake.is_set()  # there were senders that might have helped


def test_a_sender_leaves_what_is_due_where_it_is_to_stop(
    dispatcher: Dispatcher, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    put(outbox, clock, Target("default"), Target("dev"))
    [attempt] = outbox.claim(1)
    dispatcher.stop_soon()
    dispatcher.tell(attempt)
    assert states(outbox) == ["sent", "pending"]
    assert [attempt.bot for attempt in outbox.claim(9)] == ["dev"]


def test_a_sender_too_many_leaves_what_is_due_while_events_come_in(
    dispatcher: Dispatcher,
    outbox: Outbox,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatchers, "COMING", float("inf"))
    put(outbox, clock, Target("default"), Target("dev"))
    [attempt] = outbox.claim(1)
    calls = dispatcher._take_calls(2, 2)
    monkeypatch.setattr(dispatcher, "_received_at", time.monotonic())
    dispatcher.tell(attempt, calls[0])
    assert states(outbox) == ["sent", "pending"]


def test_a_lost_lease_is_said(
    dispatcher: Dispatcher, outbox: Outbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, clock)
    [attempt] = outbox.claim(1)
    clock.advance(20)
    outbox.claim(1)
    dispatcher.tell(attempt)
    assert "the lease was lost" in caplog.text


def test_all_senders_busy_means_nothing_more_is_claimed(
    dispatcher: Dispatcher, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    go = threading.Event()

    def answer() -> Outcome:
        go.wait(30)
        return Outcome(Verdict.SENT, "ok")

    client.answer = answer
    put(outbox, clock, Target("default"), Target("dev"))
    put(outbox, clock, Target("default"), Target("dev"), n=2)
    dispatcher.run_once()
    assert dispatcher.run_once() == float("inf")
    go.set()
    until(lambda: states(outbox)[:2] == ["sent", "sent"])


def test_a_template_that_shrank_ends_the_delivery_with_its_last_message(
    dispatcher: Dispatcher, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    put(outbox, clock, Target("default", ("@all",)))
    [attempt] = outbox.claim(1)
    more = [attempt.deliveries[0].id]
    outbox.settle(attempt, Outcome(Verdict.SENT, "ok"), unfinished=more)
    [attempt] = outbox.claim(1)
    dispatcher.tell(attempt)
    assert [message.msgtype for _, message in client.sent] == ["text"]
    assert states(outbox) == ["sent"]


def test_old_history_is_deleted_while_it_runs(
    dispatcher: Dispatcher, outbox: Outbox, clock: Clock
) -> None:
    outbox.accept([(event(clock), ())])
    clock.advance(31 * 86400)
    dispatcher.start()
    until(lambda: rows(outbox, "events") == [])
    outbox.accept([(event(clock, n=2), ())])
    clock.advance(PRUNE_EVERY + 31 * 86400)
    dispatcher.wake(["default"])
    until(lambda: rows(outbox, "events") == [])


def test_stopping_twice_and_without_a_start_is_no_trouble(dispatcher: Dispatcher) -> None:
    dispatcher.stop()
    assert not dispatcher.alive


def counted(state: str) -> float:
    value = REGISTRY.get_sample_value("bridge_deliveries_total", {"bot": "default", "state": state})
    return value or 0.0


def test_a_refused_first_message_is_counted_as_parked_whatever_would_have_followed(
    dispatcher: Dispatcher, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    before = counted("parked"), counted("sent")
    client.answer = lambda: Outcome(Verdict.PARK, "invalid_parameter", errcode=40058)
    put(outbox, clock, Target("default", ("@all",)))
    [attempt] = outbox.claim(1)
    dispatcher.tell(attempt)
    assert states(outbox) == ["parked"]
    assert (counted("parked"), counted("sent")) == (before[0] + 1, before[1])


def test_a_delivery_is_counted_as_sent_once_and_its_upload_not_at_all(
    dispatcher: Dispatcher, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    answers = iter(["", "m1", ""])  # the message, the upload, the file
    client.answer = lambda: Outcome(Verdict.SENT, "ok", errcode=0, media_id=next(answers))
    put(outbox, clock, Target("default", attach=("log",)), notes="x" * 9999)
    before, observed = counted("sent"), REGISTRY.get_sample_value("bridge_delivered_seconds_count")
    [attempt] = outbox.claim(1)
    dispatcher.tell(attempt)
    assert states(outbox) == ["sent"]
    assert len(client.sent) == 3
    assert counted("sent") == before + 1
    assert REGISTRY.get_sample_value("bridge_delivered_seconds_count") == (observed or 0.0) + 1


def test_what_is_stored_right_after_a_delivery_is_settled_wakes_the_loop(
    dispatcher: Dispatcher, outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock)
    dispatcher.run_once()
    until(lambda: states(outbox) == ["sent"])
    until(lambda: not dispatcher._calls)
    dispatcher._wake.clear()
    dispatcher.wake(["default"])
    assert dispatcher._wake.is_set()


@pytest.fixture
def go_on(
    dispatcher: Dispatcher, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> Iterator[threading.Event]:
    """Start the loop, and let it stand still after its first look until this is set."""
    looked, go_on, outlook = threading.Event(), threading.Event(), outbox.outlook

    def stand_still() -> tuple[float, dict[str, float]]:
        looked.set()
        go_on.wait(60)
        return outlook()

    monkeypatch.setattr(outbox, "outlook", stand_still)
    dispatcher.start()
    assert looked.wait(30)
    yield go_on
    go_on.set()


class Disk:
    """What happens where the thread that accepts an event waits for the disk."""

    def __init__(self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
        self._sync: Callable[[], None] = outbox.database.sync
        monkeypatch.setattr(outbox.database, "sync", self._only_here)

    def _only_here(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._sync()

    def syncs(self, sync: Callable[[], None]) -> None:
        self._sync = sync


# PostgreSQL is not waited for but in its commit.
only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def disk(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(outbox, monkeypatch)


@pytest.mark.usefixtures("go_on")
def test_an_event_for_idle_bots_is_told_by_each_of_them_once(
    dispatcher: Dispatcher, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    [accepted] = dispatcher.accept([(event(clock), [Target("default"), Target("dev")])])
    assert not accepted.duplicate
    until(lambda: states(outbox) == ["sent", "sent"])
    assert sorted(name for name, _ in client.sent) == ["default", "dev"]
    until(lambda: not dispatcher._calls)


@only_sqlite
@pytest.mark.usefixtures("go_on")
def test_an_event_is_told_while_the_disk_is_waited_for(
    dispatcher: Dispatcher, outbox: Outbox, client: FakeClient, clock: Clock, disk: Disk
) -> None:
    sent: list[str] = []

    def sync() -> None:
        until(lambda: bool(client.sent))
        sent.extend(name for name, _ in client.sent)

    disk.syncs(sync)
    dispatcher.accept([(event(clock), [Target("default")])])
    assert sent == ["default"]
    until(lambda: states(outbox) == ["sent"])


@only_sqlite
@pytest.mark.usefixtures("go_on")
def test_what_may_not_be_on_disk_is_refused_and_told_once_however_often_it_comes(
    dispatcher: Dispatcher, outbox: Outbox, client: FakeClient, clock: Clock, disk: Disk
) -> None:
    def broken() -> None:
        raise StorageError("I/O error")

    same = [(event(clock), [Target("default")])]
    disk.syncs(broken)
    with pytest.raises(StorageError, match="I/O error"):
        dispatcher.accept(same)
    until(lambda: states(outbox) == ["sent"])
    disk.syncs(lambda: None)
    [accepted] = dispatcher.accept(same)
    assert accepted.duplicate
    until(lambda: not dispatcher._calls)
    assert len(client.sent) == 1


@pytest.mark.usefixtures("go_on")
def test_an_event_that_cannot_be_stored_is_refused_and_its_call_given_back(
    dispatcher: Dispatcher, outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> object:
        raise StorageError("disk full")

    monkeypatch.setattr(outbox, "accept_and_claim", broken)
    with pytest.raises(StorageError, match="disk full"):
        dispatcher.accept([(event(clock), [Target("default")])])
    until(lambda: not dispatcher._calls)
    assert rows(outbox, "events") == []


def test_what_has_expired_is_settled_before_anything_is_claimed_for_a_new_event(
    dispatcher: Dispatcher, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    old = put(outbox, clock)
    clock.advance(25 * 3600)
    accepted, attempts = outbox.accept_and_claim(
        [(event(clock, n=2), [Target("default")])], (), ["default"]
    )
    assert [result.duplicate for result in accepted] == [False]
    assert attempts == []
    dispatcher.run_once()
    dispatcher.run_once()
    until(lambda: "sent" in states(outbox))
    assert [row["state"] for row in rows(outbox) if row["event_id"] == old] == ["expired"]


@pytest.mark.usefixtures("go_on")
def test_an_event_that_comes_while_the_senders_are_let_go_is_stored_all_the_same(
    dispatcher: Dispatcher, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    dispatcher._pool.shutdown()
    dispatcher.accept([(event(clock), [Target("default")])])
    assert states(outbox) == ["pending"]
    assert not client.sent
