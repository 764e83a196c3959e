"""The bridge's own notices: stopped bots, expired deliveries."""

import pytest
from outbox_helpers import (
    BUSY,
    DEFAULT,
    DEV,
    SENT,
    STOPPED,
    claim,
    claim_one,
    health,
    make_outbox,
    put,
    rows,
    states,
)
from support import Clock

from bridge.model import Bot, Outcome, Secret, Target, Verdict
from bridge.storage.outbox import Outbox
from bridge.storage.results import STOPPED_RETRY, Result
from bridge.wording import meaning, speaking


def bot_row(outbox: Outbox, name: str) -> dict[str, object]:
    return next(row for row in rows(outbox, "bots") if row["name"] == name)


def stop_dev(outbox: Outbox, clock: Clock) -> None:
    """Let WeCom refuse `dev` with something to send; `default` has been sent the notice."""
    put(outbox, clock, DEV)
    outbox.record(Result(claim_one(outbox), STOPPED))
    outbox.record(Result(claim_one(outbox), SENT))


def alarms(outbox: Outbox, kind: str = "botStopped") -> list[dict[str, object]]:
    return [row for row in rows(outbox, "events") if row["type"] == kind]


def test_a_stopped_bot_keeps_its_deliveries_and_default_hears_of_it(
    outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock, DEV)
    assert outbox.record(Result(claim_one(outbox), STOPPED)).rest_until == clock() + STOPPED_RETRY
    alarm = claim_one(outbox)
    assert alarm.bot == "default"
    assert alarm.deliveries[0].event.type == "botStopped"
    assert alarm.deliveries[0].event.payload["bot"] == "dev"
    assert health(outbox).stopped == {"dev": "invalid_webhook"}
    assert states(outbox)[0] == "pending"


@pytest.mark.parametrize(
    ("reason", "bot", "said", "unsaid"),
    [
        ("invalid_webhook", "dev", "填入 WECOM_BOT_KEY_DEV 并重启本服务", "WECOM_BOT_KEY 并"),
        ("invalid_webhook", "default", "填入 WECOM_BOT_KEY 并重启本服务", "WECOM_BOT_KEY_"),
        ("robot_disabled", "dev", "在群里重新启用", "WECOM_BOT_KEY"),
        ("robot_not_in_group", "dev", "重新加入群", "重新启用"),
        ("wrong_address", "dev", "检查 WECOM_BOT_KEY_DEV 里的 Webhook 地址", "重新启用"),
    ],
)
def test_a_notice_of_a_stopped_bot_says_why_and_what_to_do(
    reason: str, bot: str, said: str, unsaid: str, outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock, Target(bot))
    outbox.record(Result(claim_one(outbox), Outcome(Verdict.STOP, reason, "some english words")))
    event = claim_one(outbox).deliveries[0].event
    message = str(event.payload["message"])
    with speaking("zh"):
        assert message.startswith(f"机器人 {bot}：{meaning(reason)}。")
    assert said in message and unsaid not in message and reason not in message
    assert event.payload["reason"] == reason  # for templates of a user's own


def test_if_default_is_the_dead_one_any_other_hears_of_it(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, DEFAULT)
    outbox.record(Result(claim_one(outbox), STOPPED))
    assert claim_one(outbox).bot == "dev"


def test_with_no_bot_left_for_the_notice_the_log_says_so(
    outbox: Outbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, clock, DEV)
    outbox.record(Result(claim_one(outbox), STOPPED))
    outbox.record(Result(claim_one(outbox), STOPPED))  # the alarm itself, at default
    assert "no other bot can send a notice" in caplog.text
    assert claim(outbox) == []


def test_an_alarm_comes_at_most_once_an_hour(outbox: Outbox, clock: Clock) -> None:
    stop_dev(outbox, clock)
    clock.advance(STOPPED_RETRY - 1)
    assert claim(outbox) == []
    clock.advance(1)
    outbox.record(Result(claim_one(outbox), STOPPED))
    assert len(alarms(outbox)) == 2


@pytest.mark.parametrize(
    ("outcome", "stopped"), [(SENT, {}), (BUSY, {"dev": "invalid_webhook"})], ids=["sent", "busy"]
)
def test_a_stopped_bot_is_so_until_it_answers_which_a_passing_failure_does_not_hide(
    outbox: Outbox, clock: Clock, outcome: Outcome, stopped: dict[str, str]
) -> None:
    stop_dev(outbox, clock)
    clock.advance(STOPPED_RETRY)
    outbox.record(Result(claim_one(outbox), outcome))
    assert health(outbox).stopped == stopped


def test_a_stopped_bot_is_tried_when_told_to(outbox: Outbox, clock: Clock) -> None:
    stop_dev(outbox, clock)
    assert outbox.resume("dev")
    assert claim_one(outbox).bot == "dev"
    assert not outbox.resume("nobody")


@pytest.mark.parametrize(("key", "tried"), [("new-key", True), ("key-of-dev", False)])
def test_a_stopped_bot_is_tried_when_its_key_has_changed(
    database_url: str, bots: dict[str, Bot], outbox: Outbox, clock: Clock, key: str, tried: bool
) -> None:
    stop_dev(outbox, clock)
    dev = Bot("dev", Secret(f"http://wecom.invalid/cgi-bin/webhook/send?key={key}"))
    restarted = make_outbox(database_url, {**bots, "dev": dev}, clock)
    restarted.database.open()
    assert [a.bot for a in claim(restarted)] == (["dev"] if tried else [])


TABLES = ("events", "deliveries", "bots", "attempts", "attempt_deliveries")


def test_no_key_stands_in_the_database(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, DEFAULT, DEV)
    for attempt in claim(outbox):
        outbox.record(Result(attempt, STOPPED))
    stored = [row for table in TABLES for row in rows(outbox, table)]
    assert len(stored) >= 8
    assert "key-of-" not in repr(stored)


def test_what_is_too_old_expires_and_a_notice_says_how_many(outbox: Outbox, clock: Clock) -> None:
    for n in range(3):
        put(outbox, clock, DEV, n=n)
    clock.advance(86400)
    notice = claim_one(outbox)
    assert states(outbox)[:3] == ["expired"] * 3
    assert notice.bot == "dev"
    assert notice.deliveries[0].event.payload == {
        "bot": "dev",
        "count": 3,
        "hours": 24.0,
        "message": "机器人 dev 有 3 条通知超过 24 小时仍未送达，不再发送。",
    }


def test_notices_of_expiry_come_at_most_once_an_hour_and_count_all(
    outbox: Outbox, clock: Clock
) -> None:
    stop_dev(outbox, clock)
    clock.advance(60)
    put(outbox, clock, DEV, n=2)
    put(outbox, clock, DEV, n=3)
    clock.advance(86400 - 60)
    by_bot = {attempt.bot: attempt for attempt in claim(outbox)}
    assert by_bot["default"].deliveries[0].event.payload["count"] == 1
    outbox.record(Result(by_bot["default"], SENT))
    outbox.record(Result(by_bot["dev"], STOPPED))
    outbox.record(Result(claim_one(outbox), SENT))  # the alarm of that
    clock.advance(60)
    assert claim(outbox) == []
    assert health(outbox).pending == 0
    clock.advance(3600)
    assert claim_one(outbox).deliveries[0].event.payload["count"] == 2


def test_a_notice_that_expires_makes_no_further_notice(outbox: Outbox, clock: Clock) -> None:
    put(outbox, clock, DEV)
    for _ in range(4):
        clock.advance(86400)
        claim(outbox)
    assert len(alarms(outbox, "expired")) == 1


def test_news_of_a_stopped_bot_go_to_default(outbox: Outbox, clock: Clock) -> None:
    stop_dev(outbox, clock)
    clock.advance(86400)
    assert claim_one(outbox).bot == "default"


def test_what_waits_for_a_bot_that_is_no_longer_configured_expires_too(
    database_url: str, bots: dict[str, Bot], outbox: Outbox, clock: Clock
) -> None:
    put(outbox, clock, DEV)
    left = make_outbox(database_url, {"default": bots["default"]}, clock)
    assert claim(left) == []
    clock.advance(86400)
    assert claim_one(left).bot == "default"
