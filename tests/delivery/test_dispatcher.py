"""The dispatcher's loop and its senders, also where something inside the bridge goes wrong."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from outbox_helpers import SENT, FakeClient, busy_writer, make_outbox, put, rows, states
from prometheus_client import REGISTRY
from rendering import SHIPPED_RENDERER
from support import Clock, event, until

from bridge.delivery import dispatcher as dispatchers
from bridge.delivery.dispatcher import PRUNE_EVERY, Dispatcher
from bridge.delivery.sender import RECORD_TRIES, Call, Sender, SenderLimit
from bridge.delivery.wecom import CALL_TIMEOUT
from bridge.errors import StorageError
from bridge.messages.renderer import Renderer
from bridge.model import Attempt, Bot, Message, Outcome, Routed, Target, Verdict
from bridge.storage.claims import LEASE
from bridge.storage.outbox import Outbox
from bridge.storage.results import Recorded, Result


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def dispatcher(
    outbox: Outbox, client: FakeClient, bots: dict[str, Bot], clock: Clock
) -> Iterator[Dispatcher]:
    loop = Dispatcher(outbox, SHIPPED_RENDERER, client, bots, 30 * 86400.0, clock)
    yield loop
    loop.stop()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def sender(
    outbox: Outbox, client: FakeClient, bots: dict[str, Bot], clock: Clock, pauses: list[float]
) -> Sender:
    """A sender in the test's own thread."""
    return Sender(outbox, SHIPPED_RENDERER, client, bots, clock, pauses.append)


def send_next(sender: Sender) -> None:
    [attempt] = sender.outbox.claim(1)
    sender.send(attempt, Call())


def test_a_new_event_is_sent_at_once(
    dispatcher: Dispatcher, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    dispatcher.start()
    put(outbox, clock)
    until(lambda: states(outbox) == ["sent"])
    assert [name for name, _ in client.sent] == ["default"]


def test_each_attempt_keeps_what_it_carried(
    sender: Sender, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    def answer() -> Outcome:
        media_id = "m" if "data" in client.sent[-1][1].body else ""
        return Outcome(Verdict.SENT, "ok", "ok", 0, media_id=media_id)

    client.answer = answer
    target = Target("default", ("@all",), "", ("qrcode", "log"))
    put(outbox, clock, target, link="https://www.pgyer.com/abcd", notes="崩溃" * 4000)
    for _ in range(5):
        send_next(sender)
    assert states(outbox) == ["sent"]
    for n in range(20):
        put(outbox, clock, n=n)
    send_next(sender)
    assert [row["carried"] for row in rows(outbox, "attempts")] == [
        "message markdown",
        "mention",
        "picture",
        "upload",
        "file",
        "digest markdown",
    ]


def test_the_log_names_no_more_bots_than_one_can_read(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatchers, "SHOWN_BOTS", 1)
    caplog.set_level("INFO")
    dispatcher.start()
    until(lambda: "dispatching for default and 1 more" in caplog.text)


def test_a_bug_parks_the_delivery_and_the_next_is_sent(
    dispatcher: Dispatcher,
    outbox: Outbox,
    client: FakeClient,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def answer() -> Outcome:
        if len(client.sent) == 1:
            raise ZeroDivisionError
        return SENT

    client.answer = answer
    put(outbox, clock)
    put(outbox, clock, n=2)
    dispatcher.start()
    until(lambda: states(outbox) == ["parked", "sent"])
    assert rows(outbox)[0]["reason"] == "internal_error"
    assert "a bug in the bridge" in caplog.text


def test_the_loop_continues_after_any_error(
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
    until(lambda: states(outbox) == ["sent"])
    assert "the outbox cannot be used: disk full" in caplog.text
    assert "a bug in the dispatcher" in caplog.text


class Recording:
    """Fails as asked where an outcome is to be recorded."""

    def __init__(self, outbox: Outbox, troubles: list[Exception]) -> None:
        self._record, self._troubles = outbox.record, troubles

    def __call__(self, *what: Any) -> Recorded:
        if self._troubles:
            raise self._troubles.pop(0)
        return self._record(*what)


@pytest.mark.parametrize("trouble", [StorageError("disk full"), KeyError("disk full")], ids=repr)
def test_an_outcome_that_cannot_be_recorded_is_recorded_a_little_later(
    sender: Sender,
    outbox: Outbox,
    client: FakeClient,
    pauses: list[float],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: Exception,
) -> None:
    put(outbox, clock)
    monkeypatch.setattr(outbox, "record", Recording(outbox, [trouble]))
    send_next(sender)
    assert states(outbox) == ["sent"]
    assert len(client.sent) == 1
    assert "disk full" in caplog.text
    assert "could not be recorded" in caplog.text
    assert "; next try in 2 s" in caplog.text and pauses == [2.0]


def test_an_outcome_that_cannot_be_recorded_at_all_is_logged_and_sent_again(
    dispatcher: Dispatcher,
    sender: Sender,
    outbox: Outbox,
    client: FakeClient,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put(outbox, clock)
    troubles: list[Exception] = [StorageError("disk full") for _ in range(RECORD_TRIES)]
    monkeypatch.setattr(outbox, "record", Recording(outbox, troubles))
    send_next(sender)
    assert "ok, but it could not be recorded (disk full); it will be sent again" in caplog.text
    assert states(outbox) == ["pending"]
    clock.advance(LEASE)
    dispatcher.run_once()
    until(lambda: states(outbox) == ["sent"])
    assert len(client.sent) == 2


STOPPED, PARKED = "; the bot is stopped; next try in 60 min. ", "; parked. "


@pytest.mark.parametrize(
    ("verdict", "reason", "begins", "todo"),
    [
        (Verdict.STOP, "invalid_webhook", STOPPED, "into WECOM_BOT_KEY_DEV and restart the bridge"),
        (Verdict.STOP, "robot_disabled", STOPPED, "Enable it in its group, then try again."),
        (Verdict.STOP, "wrong_address", STOPPED, "Check the webhook address in WECOM_BOT_KEY_DEV"),
        (Verdict.STOP, "robot_not_in_group", STOPPED, "Add it to its group, then try again; or"),
        (Verdict.PARK, "invalid_parameter", PARKED, "Correct the message's template, then try"),
        (Verdict.PARK, "http_400", PARKED, "Check network, proxy and WECOM_API_URL."),
        (Verdict.PARK, "http_400", PARKED, "`bridge retry 1` sends it again."),
    ],
)
def test_the_log_says_what_to_do_about_what_was_refused(
    sender: Sender,
    outbox: Outbox,
    client: FakeClient,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    verdict: Verdict,
    reason: str,
    begins: str,
    todo: str,
) -> None:
    client.answer = lambda: Outcome(verdict, reason)
    put(outbox, clock, Target("dev"))
    send_next(sender)
    assert todo in caplog.text.partition(begins)[2]


def test_templates_that_cannot_be_read_at_all_do_not_end_the_loop(
    dispatcher: Dispatcher,
    outbox: Outbox,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(renderer: Renderer) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Renderer, "load", fail)
    dispatcher.start()
    put(outbox, clock)
    until(lambda: states(outbox) == ["sent"])
    assert "a bug in the reading of templates" in caplog.text


def test_nothing_is_claimed_any_more_once_it_is_to_stop(
    dispatcher: Dispatcher, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    go, called = threading.Event(), threading.Event()

    def answer() -> Outcome:
        called.set()
        go.wait(30)
        return SENT

    client.answer = answer
    put(outbox, clock)
    put(outbox, clock, n=2)
    dispatcher.start()
    assert called.wait(30)
    dispatcher.stop_soon()
    go.set()
    dispatcher.stop()
    assert states(outbox) == ["sent", "pending"]
    assert not dispatcher.alive


def test_a_call_whose_lease_was_lost_is_not_made(
    sender: Sender,
    outbox: Outbox,
    client: FakeClient,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put(outbox, clock)
    [attempt] = outbox.claim(1)
    clock.advance(20)
    outbox.claim(1)
    sender.send(attempt, Call())
    assert client.sent == []
    assert "→ bot default: the lease was lost; another process sends it" in caplog.text


def test_a_call_whose_lease_cannot_be_renewed_is_made_later(
    dispatcher: Dispatcher,
    sender: Sender,
    outbox: Outbox,
    client: FakeClient,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: object) -> None:
        raise StorageError("the disk is full")

    put(outbox, clock)
    [attempt] = outbox.claim(1)
    clock.advance(LEASE - 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "renew", away)
        sender.send(attempt, Call())
    assert client.sent == []
    assert "its lease cannot be renewed (the disk is full); sent later" in caplog.text
    clock.advance(LEASE)
    dispatcher.run_once()
    until(lambda: states(outbox) == ["sent"])


def test_a_lease_that_is_lost_during_the_call_is_logged(
    dispatcher: Dispatcher,
    outbox: Outbox,
    client: FakeClient,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def answer() -> Outcome:
        clock.advance(20)
        outbox.claim(1)
        return SENT

    client.answer = answer
    put(outbox, clock)
    dispatcher.run_once()
    until(lambda: "the lease was lost, so another process may send it again" in caplog.text)


@pytest.mark.parametrize("seconds", [0.0, LEASE - CALL_TIMEOUT, LEASE - 1.0, LEASE + 1.0])
def test_however_long_it_renders_no_other_process_gets_the_bot_during_the_call(
    sender: Sender,
    database_url: str,
    client: FakeClient,
    bots: dict[str, Bot],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
) -> None:
    other = make_outbox(database_url, bots, clock)
    claimed: list[Attempt] = []
    render = Renderer.messages

    def slowly(*what: Any) -> list[Message]:
        clock.advance(seconds)
        return render(*what)

    def answer() -> Outcome:
        clock.advance(CALL_TIMEOUT)
        claimed.extend(other.claim(1))
        return SENT

    monkeypatch.setattr(Renderer, "messages", slowly)
    client.answer = answer
    put(sender.outbox, clock)
    send_next(sender)
    assert claimed == []
    assert states(sender.outbox) == ["sent"]
    assert len(rows(sender.outbox, "attempts")) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # it takes real seconds
def test_no_lease_ends_while_others_render(
    dispatcher: Dispatcher,
    outbox: Outbox,
    client: FakeClient,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SenderLimit, "ARRIVING", -1.0)
    go = threading.Event()
    left: list[float] = []  # seconds of the lease when a call begins
    render = Renderer.messages

    def slowly(*what: Any) -> list[Message]:
        assert go.wait(30)
        return render(*what)

    def leases() -> dict[Any, Any]:
        return {bot["name"]: bot["lease_until"] for bot in rows(outbox, "bots")}

    def answer(bot: Bot, _message: Message) -> Outcome:
        left.append(leases()[bot.name] - clock())
        return SENT

    monkeypatch.setattr(client, "send", answer)
    monkeypatch.setattr(Renderer, "messages", slowly)
    put(outbox, clock, Target("default"), Target("dev"))
    dispatcher.run_once()
    for _ in range(2):  # the one that waits is renewed again and again
        clock.advance(LEASE - 1.0)
        until(lambda: max(leases().values()) == clock() + LEASE)
    go.set()
    until(lambda: states(outbox) == ["sent", "sent"])
    assert left == [LEASE] * 2
    assert len(rows(outbox, "attempts")) == 2


def test_all_senders_busy_means_nothing_more_is_claimed(
    dispatcher: Dispatcher,
    outbox: Outbox,
    client: FakeClient,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SenderLimit, "ARRIVING", -1.0)
    go = threading.Event()

    def answer() -> Outcome:
        go.wait(30)
        return SENT

    client.answer = answer
    put(outbox, clock, Target("default"), Target("dev"))
    put(outbox, clock, Target("default"), Target("dev"), n=2)
    dispatcher.run_once()
    dispatcher.run_once()
    until(lambda: len(client.sent) == 2)
    assert [row["tries"] for row in rows(outbox)] == [0] * 4
    go.set()
    until(lambda: states(outbox)[:2] == ["sent", "sent"])


def test_a_template_that_shrank_ends_the_delivery_with_its_last_message(
    sender: Sender, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    put(outbox, clock, Target("default", ("@all",)))
    [attempt] = outbox.claim(1)
    more = [attempt.deliveries[0].id]
    outbox.record(Result(attempt, SENT, unfinished=more))
    send_next(sender)
    assert [message.msgtype for _, message in client.sent] == ["text"]
    assert states(outbox) == ["sent"]


def test_old_history_is_deleted_while_it_runs(
    dispatcher: Dispatcher, outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.accept([Routed(event(clock), ())])
    clock.advance(31 * 86400)
    monkeypatch.setattr(dispatchers, "POLL", 0.01)
    dispatcher.start()
    until(lambda: rows(outbox, "events") == [])
    outbox.accept([Routed(event(clock, n=2), ())])
    clock.advance(PRUNE_EVERY + 31 * 86400)
    outbox.database.wakeup.set()
    until(lambda: rows(outbox, "events") == [])


def test_stopping_twice_and_without_a_start_is_no_trouble(dispatcher: Dispatcher) -> None:
    dispatcher.stop()
    assert not dispatcher.alive


def counted(state: str) -> float:
    value = REGISTRY.get_sample_value("bridge_deliveries_total", {"bot": "default", "state": state})
    return value or 0.0


def test_a_refused_first_message_is_counted_as_parked_whatever_would_have_followed(
    sender: Sender, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    before = counted("parked"), counted("sent")
    client.answer = lambda: Outcome(Verdict.PARK, "invalid_parameter", errcode=40058)
    put(outbox, clock, Target("default", ("@all",)))
    send_next(sender)
    assert states(outbox) == ["parked"]
    assert (counted("parked"), counted("sent")) == (before[0] + 1, before[1])


def test_a_delivery_is_counted_as_sent_once_and_its_upload_not_at_all(
    sender: Sender, outbox: Outbox, client: FakeClient, clock: Clock
) -> None:
    answers = iter(["", "m1", ""])  # the message, the upload, the file
    client.answer = lambda: Outcome(Verdict.SENT, "ok", errcode=0, media_id=next(answers))
    put(outbox, clock, Target("default", attach=("log",)), notes="x" * 9999)
    before, observed = counted("sent"), REGISTRY.get_sample_value("bridge_delivered_seconds_count")
    for _ in range(3):
        send_next(sender)
    assert states(outbox) == ["sent"]
    assert len(client.sent) == 3
    assert counted("sent") == before + 1
    assert REGISTRY.get_sample_value("bridge_delivered_seconds_count") == (observed or 0.0) + 1


def test_what_expires_is_logged_and_counted_once_though_its_transaction_is_run_again(
    outbox: Outbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, clock)
    clock.advance(86_400)
    before = counted("expired")

    def fail(connection: object) -> None:
        raise ZeroDivisionError

    with ThreadPoolExecutor(2) as pool:
        with busy_writer(outbox.database, queued=2):
            together = [pool.submit(outbox.maintain), pool.submit(outbox.database.write, fail)]
        together[0].result()
        with pytest.raises(ZeroDivisionError):
            together[1].result()
    assert states(outbox)[0] == "expired"
    assert counted("expired") == before + 1
    assert caplog.text.count("are too old and expire (events [1]); `bridge retry ID` sends") == 1


# The limit of senders while events arrive


def test_without_arriving_events_all_senders_may_start(outbox: Outbox) -> None:
    limit = SenderLimit(outbox, 5)
    calls = limit.reserve()
    assert len(calls) == 5
    assert limit.reserve() == []
    limit.release(calls[:2])
    assert len(limit.reserve()) == 2


def test_while_events_arrive_one_sender_computes_beside_those_that_wait_for_wecom(
    outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SenderLimit, "ARRIVING", 3600.0)
    limit = SenderLimit(outbox, 5)
    put(outbox, clock)
    [first] = limit.reserve()
    assert limit.reserve() == []
    first.waits_since = 0.0  # it has waited for WeCom for long
    assert len(limit.reserve()) == 1
    assert limit.reserve() == []


def test_senders_that_started_before_events_arrived_are_not_counted_below_zero(
    outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SenderLimit, "ARRIVING", 3600.0)
    limit = SenderLimit(outbox, 5)
    calls = limit.reserve()
    put(outbox, clock)
    assert limit.reserve() == []
    limit.release(calls[1:])
    assert limit.reserve() == []
    limit.release(calls)
    assert len(limit.reserve()) == 1
