"""Why did nothing arrive? The console's answers in a real browser over the real program."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import requests
from browser import Page, expect
from console_client import PASSWORD
from support import TOKEN, Deployment, environment, until

from bridge.sandbox import Sandbox, serve

RULES = """
[[route]]
type = "crashlog"
app = "商城*"
bots = ["dev"]
mention = ["wangqing"]

[[route]]
version = "*preview*"
bots = []

[[route]]
app = "夜间*"
bots = ["dev"]
quiet = "00:00-23:59"
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A bridge with routes, 20 bots and a rate of 3 calls a minute, and its sandbox."""
    folder = tmp_path_factory.mktemp("answers")
    (folder / "routes.toml").write_text(RULES)
    teams = {f"WECOM_BOT_KEY_TEAM_{n}": f"key-of-team-{n}" for n in range(1, 19)}
    keys = ["key-of-default", "key-of-dev", *teams.values()]
    box = Sandbox({key: key for key in keys}, rate=None)
    with serve(box) as url:
        more = {"WECOM_API_URL": url, "BRIDGE_ADMIN_PASSWORD": PASSWORD, "BRIDGE_RATE": "3"}
        bridge = Deployment(folder, environment(folder, **more, **teams)).start()
        yield SimpleNamespace(
            console=f"{bridge.url}/console", hook=f"{bridge.url}/pgyer/{TOKEN}", box=box
        )
        bridge.kill()


def post(served: SimpleNamespace, path: str = "", **payload: str) -> int:
    body = {"type": "updateVersion", "title": "商城", **payload}
    number: int = requests.post(served.hook + path, json=body, timeout=20).json()["event"]
    return number


def test_the_routes_are_in_words_and_an_event_can_be_tried(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    muted = post(served, os_version="2.0.preview")
    page = signed_in(f"/events/{muted}")
    expect(page.locator("#deliveries")).to_contain_text("按路由规则第 2 条，不发送。")
    page.click("text=用现在的规则试一试")
    page.wait_for_url(f"**/routes?event={muted}**")
    expect(page.locator("#rule-1")).to_have_text(
        "第 1 条：类型为 崩溃日志、应用名匹配 商城* → dev，提醒 @wangqing"
    )
    trial = page.locator(".trial")
    expect(trial.locator(".failed").first).to_have_text("✗ 第 1 条：类型是“新版本”，不是 崩溃日志")
    expect(trial.locator(".matched")).to_have_text("✓ 第 2 条：匹配")
    expect(trial.locator(".target")).to_have_text("→ 不发送")

    page.click("summary")
    page.fill("[name=body]", "{'type': 'crashlog', 'title': '商城 iOS', 'notes': 'x'}")
    page.click(".paste button")
    expect(trial.locator(".matched")).to_have_text("✓ 第 1 条：匹配")
    expect(trial.locator(".target")).to_contain_text("→ dev，提醒 @wangqing")
    expect(page.locator("[name=body]")).to_have_value(
        "{'type': 'crashlog', 'title': '商城 iOS', 'notes': 'x'}"
    )
    page.select_option("[name=event]", str(muted))
    page.click(".choose button")
    expect(trial.locator(".target")).to_have_text("→ 不发送")


def test_the_routes_can_be_tried_without_javascript(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    number = post(served, title="夜间", os_version="1")
    page = signed_in("/routes", java_script_enabled=False)
    page.fill("[name=id]", str(number))
    page.click(".choose button")
    expect(page.locator(".trial .target")).to_contain_text("→ dev，暂缓到")


def test_an_event_that_went_out_in_a_digest_leads_to_the_others(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    # In one body, so that all are due at once: the first goes alone, all others together.
    body = [{"type": "updateVersion", "title": "商城", "os_version": f"3.{n}"} for n in range(8)]
    answer = requests.post(f"{served.hook}/team_1", json=body, timeout=20)
    numbers = answer.json()["events"]
    messages = served.box.messages
    until(lambda: len(messages("key-of-team-1")) == 2, "the digest arrives")
    page = signed_in(f"/events/{numbers[-1]}")
    expect(page.locator("#deliveries .pill.sent")).to_be_visible()
    expect(page.locator("#deliveries")).to_contain_text("汇总消息（markdown）")
    expect(page.locator(".hint")).to_contain_text("汇总的原文没有保存。下面是它单独发送时的样子。")
    page.click("details.why summary")
    others = page.locator("details.why li a")
    expect(others.last).to_have_text(f"#{numbers[-2]} 商城 3.6")
    others.last.click()
    page.wait_for_url(f"{served.console}/events/{numbers[-2]}")
    expect(page.locator("details.why summary")).to_contain_text("合并在一条汇总里发出")


def test_a_test_message_to_a_stopped_bot_is_answered_on_its_page(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    served.box.fault("key-of-team-10", 93000)
    post(served, "/team_10", os_version="4.0")
    page = signed_in("/bots")
    until(lambda: "已停用" in (page.reload() and page.text_content("#bot-team_10")), "it stops")
    served.box.fault("key-of-team-10", 93004)
    page.click("#bot-team_10 button >> text=发送测试消息")
    page.wait_for_url("**/events/*")
    deliveries = page.locator("#deliveries")
    expect(deliveries.locator(".attempts li")).to_have_count(1)
    expect(deliveries).to_contain_text("errcode 93004")
    expect(deliveries).to_contain_text("处理办法 在群里重新启用它，然后重试。")
    page.goto(f"{served.console}/bots")
    expect(page.locator(".bots li b").first).to_have_text("team_10")
    page.click("#bot-team_10 button >> text=发送测试消息")
    page.wait_for_url("**/events/*")
    expect(deliveries.locator(".pill.sent")).to_be_visible()


def test_twenty_bots_fit_one_screen(signed_in: Callable[..., Page]) -> None:
    for locale in ("zh-CN", "en-US"):
        page = signed_in("/bots", locale=locale, viewport=(1280, 900))
        expect(page.locator(".bots li")).to_have_count(20)
        box = page.locator(".bots").bounding_box()
        assert box["y"] + box["height"] <= 900


@pytest.mark.parametrize("locale", ["zh-CN", "en-US"])
def test_the_answers_fit_a_phone(
    locale: str, signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    number = post(served, title="夜间 " * 30, os_version="5" * 60)
    page = signed_in("/bots", locale=locale, viewport=(390, 844))
    for path in ("/bots", "/", "/routes", f"/routes?id={number}", f"/events/{number}"):
        page.goto(f"{served.console}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
