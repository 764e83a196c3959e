"""What an event's page says truly happened to it."""

import re
import time
from pathlib import Path

import pytest
from console_client import Console, fill, serve, settle

from bridge.model import Outcome, Verdict
from bridge.storage.database import Connection
from bridge.storage.results import Result

RULES = """
[[route]]
type = "crashlog"
bots = ["dev"]
mention = ["wangqing"]
continue = true
[[route]]
version = "*preview*"
bots = []
[[route]]
app = "Night*"
bots = ["dev"]
quiet = "00:00-23:59"
[[route]]
type = "crashlog"
"""


@pytest.fixture
def routed(tmp_path: Path) -> Console:
    (tmp_path / "routes.toml").write_text(RULES)
    console = serve(tmp_path, BRIDGE_ROUTES=str(tmp_path / "routes.toml"))
    console.sign_in()
    return console


def said(console: Console, event: int, language: str = "en") -> str:
    """Return what the card of deliveries says, without tags."""
    [card] = re.findall(
        r'<section class="card" id="deliveries".*?</section>',
        console.page(f"/events/{event}", language),
        re.DOTALL,
    )
    return " ".join(re.sub(r"<[^>]*>", " ", card).split())


def test_an_event_says_which_rules_routed_it_or_muted_it(routed: Console) -> None:
    crash = routed.event({"type": "crashlog", "title": "A"})
    assert "It was routed by rule 1 and 4." in said(routed, crash)
    assert "Rule 1: type is crash log → dev, mentions @wangqing, then" in said(routed, crash)
    muted = routed.event({"type": "updateVersion", "os_version": "2.preview"})
    assert "Rule 2 sends it to nobody." in said(routed, muted)
    assert "按路由规则第 2 条，不发送。" in said(routed, muted, "zh")
    other = routed.event({"type": "updateVersion", "title": "A"})
    assert "No rule matched, so it went to default." in said(routed, other)
    named = routed.event({"type": "updateVersion", "title": "A"}, "/dev")
    assert "The address named the bots." in said(routed, named)
    both = routed.event({"type": "updateVersion", "title": "Night"}, "/default")
    assert "The address named the bots; all else is by rule 3." in said(routed, both)
    page = routed.page(f"/events/{crash}")
    assert f'href="/console/routes?event={crash}#tried"' in page
    routed.bridge.close()


def test_a_rule_that_is_gone_is_not_explained_by_another(routed: Console, tmp_path: Path) -> None:
    number = routed.event({"type": "updateVersion", "title": "Night"})
    routed.bridge.close()
    later = serve(tmp_path)
    later.sign_in()
    assert "It was routed by rule 3." in said(later, number)
    assert "now:" not in said(later, number)
    assert "quiet hours until" in said(later, number)
    later.bridge.close()


def test_events_from_before_and_the_bridge_s_own_say_nothing_of_rules(console: Console) -> None:
    console.bridge.outbox.database.write(lambda c: c.execute("UPDATE events SET rules = ''"))
    assert "rule" not in said(console, 1)
    test = console.bridge.operator.send_test("dev")
    assert "rule" not in said(console, test)


def test_duplicates_are_counted_on_the_event_s_page(console: Console) -> None:
    assert "The same came" not in said(console, 1)
    body = {"type": "updateVersion", "title": "OooPlay", "os_version": "2.4"}
    console.event(body)
    assert "The same came 1 more time and was not sent again." in said(console, 1)
    console.event({**body, "timestamp": 7})
    assert "The same came 2 more times and was not sent again." in said(console, 1)


def test_quiet_hours_name_the_rule_and_their_end(routed: Console) -> None:
    number = routed.event({"type": "updateVersion", "title": "Night"})
    assert re.search(r"quiet hours of rule 3 until (\d\d-\d\d )?23:59", said(routed, number))
    assert "第 3 条规则免打扰至" in said(routed, number, "zh")
    routed.bridge.close()


def test_a_waiting_delivery_says_why_it_waits_and_what_to_do(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    console.event({"title": "Second"})
    settle(console, Verdict.RETRY, "connect_timeout")
    assert "retrying later · Next try" in said(console, 2)
    assert "What to do Check network, proxy and WECOM_API_URL." in said(console, 1)
    assert "What to do" not in said(console, 2)
    console.bridge.outbox.resume("default")
    settle(console, Verdict.REST, "rate_limited", 45009)
    assert "rate limited · Next try" in said(console, 2)
    assert "限流等待中" in said(console, 2, "zh")
    console.bridge.outbox.resume("default")
    settle(console, Verdict.STOP, "robot_disabled", 93004)
    assert "The bot default is stopped: the robot is disabled. Next try" in said(console, 2)
    assert "What to do Enable it in its group, then try again." in said(console, 2)
    assert "处理办法" in said(console, 2, "zh")
    monkeypatch.setattr("bridge.delivery.dispatcher.Dispatcher.alive", False)
    assert "Nothing is being sent: the dispatcher does not run." in said(console, 2)


def test_a_delivery_to_a_bot_that_is_gone_says_so(console: Console, tmp_path: Path) -> None:
    number = console.event({"title": "For dev"}, "/dev")
    console.bridge.close()
    later = serve(tmp_path, WECOM_BOT_KEY_DEV="")
    later.sign_in()
    what = "The bot dev is stopped: it is not in the settings any more."
    assert what in said(later, number) and what in later.page("/")
    for path in (f"/events/{number}", "/", "/bots"):
        assert "Set WECOM_BOT_KEY_DEV again" in later.page(path)
    assert 'id="bot-dev"' in later.page("/bots")
    for path in ("/", "/bots"):
        assert "/bots/default/test" in later.page(path)
        assert "/bots/dev/test" not in later.page(path)
    later.bridge.close()


def test_a_failed_delivery_says_what_to_do_and_one_done_by_hand_does_not(console: Console) -> None:
    settle(console, Verdict.PARK, "empty_content", 44004)
    assert "What to do Correct the message's template" in said(console, 1).replace("&#39;", "'")
    console.post("/deliveries/1/done", event="1")
    assert "What to do" not in said(console, 1)


def test_each_call_says_what_it_carried(console: Console) -> None:
    for carried, more in (("message markdown", [1]), ("mention", [])):
        [attempt] = console.bridge.outbox.claim(1)
        outcome = Outcome(Verdict.SENT, "ok", "ok", 0)
        console.bridge.outbox.record(Result(attempt, outcome, more, carried))
    assert "markdown message WeCom accepted it" in said(console, 1)
    assert "mention WeCom accepted it" in said(console, 1)
    assert "提醒消息" in said(console, 1, "zh")


def test_a_digest_links_its_other_events_and_says_that_its_text_is_not_kept(
    console: Console,
) -> None:
    for n in range(2, 22):
        console.event({"type": "updateVersion", "title": f"App {n}", "os_version": f"1.{n}"})
    settle(console, Verdict.SENT, "ok", 0)
    alone = console.page("/events/1")
    assert "digest" not in alone
    settle(console, Verdict.SENT, "ok", 0)
    page = console.page("/events/5")
    assert "Sent in a digest of 20 events" in page
    links = re.findall(r'<li>\s*<a href="/console/events/(\d+)">#\d+ App \d+ 1\.\d+</a>', page)
    assert [int(number) for number in links] == [n for n in range(2, 22) if n != 5]
    assert "whose text is not kept. This is how it would look alone." in page
    assert "合并在一条汇总里发出，共 20 个通知" in console.page("/events/5", "zh")


def test_a_digest_of_very_many_lists_the_first(visitor: Console) -> None:
    visitor.sign_in()
    fill(visitor.bridge, 300, time.time())

    def gather(connection: Connection) -> None:
        connection.execute("UPDATE attempt_deliveries SET attempt_id = 1")

    visitor.bridge.outbox.database.write(gather)
    page = visitor.page("/events/300")
    assert "Sent in a digest of 300 events" in page
    assert "Only the first 100 are listed." in page
    assert len(re.findall(r'<li>\s*<a href="/console/events/\d+">', page)) == 100
