"""The overview: problems, bots, chart and the address to paste."""

import re
import time
from pathlib import Path

import pytest
from console_client import Console, serve, settle
from support import TOKEN

from bridge.model import Verdict
from bridge.storage.queries import SilentApp
from bridge.storage.retention import prune


def test_the_overview_says_that_all_is_well(console: Console) -> None:
    settle(console, Verdict.SENT, "ok", 0)
    page = console.page("/")
    assert "All is well" in page
    assert "WeCom accepted it" in page
    assert "1 of 18 calls" in page
    assert f'value="http://localhost/pgyer/{TOKEN}"' in page
    assert f'value="http://localhost/pgyer/{TOKEN}/dev"' in page
    assert "Pgyer cannot reach this address" in page
    for label in (
        "应用 → 设置 → Webhook 设置 → 创建 Webhook",
        "其他指定URL",
        "选择订阅内容",
        "开启",
    ):
        assert label in page


def test_the_overview_says_what_is_wrong_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "bad.markdown.j2").write_text("fine\n{% if %}")
    console = serve(tmp_path, BRIDGE_TEMPLATES=str(templates))
    console.sign_in()
    for title in ("A", "B", "C"):
        console.event({"title": title})
    settle(console, Verdict.PARK, "invalid_parameter", 40058)
    settle(console, Verdict.STOP, "robot_not_in_group", 93008)
    monkeypatch.setattr("bridge.delivery.dispatcher.Dispatcher.alive", False)
    page = console.page("/")
    assert "4 problems" in page and "All is well" not in page
    for shown in (
        "the dispatcher does not run",
        "The bot default is stopped: the robot is no longer in the group",
        "into WECOM_BOT_KEY and restart",
        "Deliveries failed in the last 24 hours: 1.",
        "bad.markdown.j2:2:",
        'href="/console/events?state=parked"',
        'href="/console/templates/bad.markdown.j2"',
    ):
        assert shown in page
    console.bridge.close()


def test_the_overview_reports_late_and_expired_deliveries(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + 3600
    monkeypatch.setattr("bridge.storage.database.Database.time", lambda self: later, raising=True)
    app = serve(Path(console.bridge.settings.database_url.reveal()[10:]).parent)
    app.sign_in()
    assert "waits for 60 minutes" in app.page("/")
    app.bridge.outbox._clock = lambda: later + 90000
    app.bridge.outbox.maintain()
    app.bridge.outbox._clock = lambda: later
    assert "expired unsent in the last 24 hours: 1." in app.page("/")
    assert "it waited for too long" in app.page("/events/1")
    app.bridge.close()


def test_the_address_is_the_public_one_where_that_is_known(tmp_path: Path) -> None:
    console = serve(tmp_path, BRIDGE_PUBLIC_URL="https://hooks.example/", BRIDGE_TOKEN=f"{TOKEN},x")
    console.sign_in()
    page = console.page("/")
    assert f'value="https://hooks.example/pgyer/{TOKEN}"' in page
    assert "pgyer/x" not in page
    console.bridge.close()


def test_the_chart_shows_every_hour_that_had_an_event(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = [(0.0, 0), (3600.0, 1), (7200.0, 1000)]
    monkeypatch.setattr(console.bridge.queries, "per_hour", lambda now: hours)
    page = console.page("/")
    bars = re.findall(r' x="(\d+)" y="([\d.]+)" width="16" height="([\d.]+)"', page)
    assert [(int(x), float(y), float(height)) for x, y, height in bars] == [
        (2, 95.0, 1.0),
        (22, 93.0, 3.0),
        (42, 0.0, 96.0),
    ]
    assert "<title>10:00 · 1000</title>" in page
    assert page.count("1001 events") == 2


def test_the_overview_says_when_the_last_event_came(visitor: Console) -> None:
    visitor.sign_in()
    assert "Last event received: none yet" in visitor.page("/")
    assert "上次收到通知：暂无" in visitor.page("/", "zh")
    visitor.event({"title": "商城"})
    visitor.bridge.operator.send_test("dev")
    page = visitor.page("/")
    assert "Last event received: just now" in page
    assert '<a href="/console/events/1">商城 #1</a>' in page


def test_the_overview_names_apps_that_have_become_silent(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Nothing from" not in console.page("/")
    last = time.time() - 9.5 * 86400
    apps = [SilentApp(f"商城 {n}", last, 2.2 * 86400) for n in range(9)]
    monkeypatch.setattr(console.bridge.queries, "silent_apps", lambda now: apps)
    page = console.page("/")
    assert "Nothing from “商城 0” for 9 days.</a>" in page
    assert "It used to report about every 2 days." in page
    apps[0] = SilentApp("商城 0", last, 0.9 * 86400)
    assert "It used to report about every day." in console.page("/")
    assert page.count("Nothing from") == 5
    assert 'href="/console/events?app=%E5%95%86%E5%9F%8E+0"' in page
    assert "9 天没有收到“商城 0”的通知。" in console.page("/", "zh")
    assert "verdict attention" not in page  # a hint is no problem


def test_without_any_event_the_chart_is_empty(visitor: Console) -> None:
    visitor.sign_in()
    page = visitor.page("/")
    assert page.count('<rect class="none"') == 24
    assert "0 events" in page


def test_the_overview_counts_requests_with_a_wrong_token(console: Console, tmp_path: Path) -> None:
    assert "wrong token" not in console.page("/")
    for _ in range(2):
        console.client.post("/pgyer/an-old-token")
    restarted = serve(tmp_path)
    restarted.sign_in()
    console.bridge.close()
    page = restarted.page("/")
    restarted.bridge.close()
    assert re.search(r"Requests with a wrong token: 2, since \d\d:\d\d:\d\d\.", page)


def test_until_a_bot_was_tested_and_an_event_has_come_the_overview_is_a_checklist(
    tmp_path: Path,
) -> None:
    console = serve(tmp_path)
    console.sign_in()
    page = console.page("/", "zh")
    assert "开始使用" in page and "一切正常" not in page
    for step in ("测试群机器人", "把地址填到蒲公英", "收到第一条通知"):
        assert step in page
    assert "测试 default" in page and "测试 dev" in page
    assert 'class="done"' not in page

    console.post("/bots/default/test", "/")
    settle(console, Verdict.SENT, "ok", 0)
    page = console.page("/", "zh")
    assert "测试 default" not in page and "测试 dev" in page
    assert "开始使用" in page

    console.event({"type": "feedback", "title": "A"}, "/dev")
    page = console.page("/", "zh")
    assert "开始使用" not in page and "一切正常" in page


def test_an_event_alone_is_not_enough_while_the_default_bot_has_sent_nothing(
    tmp_path: Path,
) -> None:
    console = serve(tmp_path)
    console.sign_in()
    console.event({"type": "feedback", "title": "A"})
    page = console.page("/")
    assert "First steps" in page
    assert page.count('class="done"') == 2


def test_the_checklist_does_not_come_back_when_retention_has_deleted_everything(
    tmp_path: Path,
) -> None:
    console = serve(tmp_path)
    console.sign_in()
    console.event({"type": "feedback", "title": "A"})
    settle(console, Verdict.SENT, "ok", 0)
    assert "All is well" in console.page("/")
    while prune(console.bridge.outbox.database, time.time() + 1):
        pass
    assert "All is well" in console.page("/")
