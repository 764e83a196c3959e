"""The console in a real browser, over a real server, with the sandbox for WeCom.

A click returns before the page that it leads to is there, so nothing is asked of a page by a plain
assert: `expect` waits until it is so, and `wait_for_url` until the next page has been loaded.

With `PICTURES=write` (`make pictures`) these tests also take the documents' pictures.
"""

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from browser import Page, expect, picture
from console_client import PASSWORD
from support import ROOT, Deployment, until

from bridge.samples import samples
from bridge.sandbox import Sandbox, serve

MESSAGES = len(samples()) + 1  # the crash brings its whole log as a file
PAGES = (
    "/", "/events", "/events?state=parked", "/events/1", "/bots", "/routes?event=1", "/templates",
    "/templates/crashlog.markdown.j2", "/templates/digest.markdown.j2", "/nowhere",
)  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A bridge that has sent all samples, and its sandbox."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(ROOT / "templates", folder / "templates")
    (folder / "routes.toml").write_text(
        '[[route]]\ntype = ["crashlog", "feedback"]\nbots = ["dev"]\nmention = ["wangqing"]\n'
    )
    box = Sandbox({"key-of-default": "产品群 · default", "key-of-dev": "开发群 · dev"}, rate=None)
    with serve(box) as url:
        bridge = Deployment(
            folder,
            {
                "WECOM_BOT_KEY": "key-of-default",
                "WECOM_BOT_KEY_DEV": "key-of-dev",
                "WECOM_API_URL": url,
                "BRIDGE_TOKEN": "0f3b9c54a1d27e68",
                "BRIDGE_TEMPLATES": "templates",
                "BRIDGE_PUBLIC_URL": "https://bridge.example.com",
                "BRIDGE_ADMIN_PASSWORD": PASSWORD,
                "DATABASE_URL": f"sqlite:///{folder}/bridge.db",
            },
        ).start()
        hook = f"{bridge.url}/pgyer/0f3b9c54a1d27e68"
        for body in samples().values():
            assert requests.post(hook, data=body, timeout=20).ok
        until(lambda: len(box.messages()) == MESSAGES, "all samples arrive")
        remember(folder / "bridge.db")
        yield SimpleNamespace(
            url=bridge.url, hook=hook, box=box, sandbox=url, console=f"{bridge.url}/console",
            public="https://bridge.example.com/pgyer/0f3b9c54a1d27e68",
        )  # fmt: skip
        bridge.kill()


def remember(database: Path) -> None:
    """Let there have been events in the hours before, for the chart to show."""
    rows = [(3600 * hour + 60 * n,) for hour in range(1, 24) for n in range(hour * 7 % 11)]
    copied = "type, title, device_type, os_version, build_version, link, brief, payload, raw, error"
    connection = sqlite3.connect(database, timeout=20)
    with connection:
        connection.executemany(
            f"insert into events (received_at, payload_hash, {copied}) "
            f"select received_at - ?, '', {copied} from events where type = 'updateVersion' "
            "order by id limit 1",
            rows,
        )
    connection.close()


def test_the_sandbox_shows_the_groups(visit: Callable[..., Page], served: SimpleNamespace) -> None:
    page = visit(f"{served.sandbox}/", viewport=(1000, 720))
    expect(page.locator(".bubble")).to_have_count(MESSAGES)
    expect(page.locator("main")).to_contain_text("开发群")
    picture(page, "sandbox")


def test_a_wrong_password_is_refused_and_the_right_one_opens(
    visit: Callable[..., Page], served: SimpleNamespace
) -> None:
    visit.expected = 401  # type: ignore[attr-defined]
    page = visit(f"{served.console}/events")
    with page.expect_response(lambda answer: answer.request.method == "POST") as answered:
        page.fill("#password", "wrong")
        page.click("main button")
    assert answered.value.status == 401
    expect(page.locator("[role=alert]")).to_contain_text("密码不对")
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{served.console}/events")
    page.click("text=退出")
    expect(page.locator(".flash")).to_contain_text("已退出")
    expect(page.locator("#password")).to_be_visible()


def test_filtering_opening_and_sending_again_reaches_the_group(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = signed_in("/")
    expect(page.locator(".verdict")).to_contain_text("一切正常")
    picture(page, "console-overview", full_page=True)
    page.click("nav >> text=事件")
    page.wait_for_url(f"{served.console}/events")
    expect(page.locator(".events li").nth(len(samples()) - 1)).to_be_visible()
    # Not as the list of bots, which is a card, has it.
    expect(page.locator(".event .bots").first).to_have_css("border-top-width", "0px")
    page.select_option("[name=type]", "crashlog")
    page.click("text=筛选")
    page.wait_for_url("**type=crashlog**")
    expect(page.locator(".events li")).to_have_count(1)
    page.click(".events a")
    page.wait_for_url("**/events/*")
    expect(page.locator(".bubble").first).to_contain_text("java.lang.IndexOutOfBoundsException")
    picture(page, "console-event")
    before = len(served.box.messages("key-of-dev"))
    page.click("text=重新发送")
    expect(page.locator(".flash")).to_be_visible()
    until(lambda: len(served.box.messages("key-of-dev")) == before + 2, "it arrives again")
    first, again = served.box.messages("key-of-dev")[0], served.box.messages("key-of-dev")[before]
    assert again.payload == first.payload
    # The page learns by itself what became of it.
    expect(page.locator("#deliveries .pill.sent")).to_have_count(2)
    expect(page.locator("#deliveries[data-pending]")).to_have_count(0)


def test_a_test_message_to_another_bot_arrives(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = signed_in("/bots")
    before = len(served.box.messages("key-of-dev"))
    page.click("#bot-dev button >> text=发送测试消息")
    page.wait_for_url("**/events/*")
    until(lambda: len(served.box.messages("key-of-dev")) == before + 1)
    expect(page.locator("#deliveries .pill.sent")).to_have_count(1)


def test_a_failed_delivery_shows_and_is_sent_again_from_the_page(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    served.box.fault("key-of-default", 44004)
    body = {"type": "updateVersion", "title": "Parked", "os_version": "9.9"}
    number = requests.post(served.hook, json=body, timeout=20).json()["event"]
    page = signed_in(f"/events/{number}")
    expect(page.locator("#deliveries .pill.parked")).to_be_visible()
    expect(page.locator("#deliveries")).to_contain_text("消息为空")
    page.goto(f"{served.console}/")
    expect(page.locator(".verdict.attention")).to_contain_text("1 条通知发送失败")
    page.click(".verdict a")
    page.wait_for_url("**/events?**")
    page.click(".events a")
    page.wait_for_url("**/events/*")
    page.click("#deliveries button >> text='重试'")
    expect(page.locator("#deliveries .pill.sent")).to_be_visible()
    page.goto(f"{served.console}/")
    expect(page.locator(".verdict.well")).to_be_visible()


def test_the_preview_follows_the_typing(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = signed_in("/templates/crashlog.markdown.j2")
    expect(page.locator("text=没有发现问题")).to_be_visible()
    page.focus("#source")
    page.keyboard.press("Control+End")
    with page.expect_response("**/templates/preview") as answered:
        page.keyboard.type("\n- 请 {{ titel }} 的同事看一下")
    assert answered.value.status == 200
    bubble, findings = page.locator(".bubble"), page.locator(".findings")
    expect(bubble).to_contain_text("的同事看一下")
    expect(findings).to_contain_text("没有变量 titel，这里会是空的：应为 title 吗？")
    expect(findings).to_contain_text("列表")
    picture(page, "console-preview")

    page.select_option("[name=event]", "feedback")
    expect(bubble).to_contain_text("购物车里的商品还在")
    page.fill("#source", "{% if %}")
    expect(findings.locator(".error")).to_contain_text("第 1 行")
    page.fill("[name=id]", "1")
    with page.expect_response("**/templates/preview"):
        page.keyboard.press("Enter")
    expect(findings.locator(".error")).to_contain_text("第 1 行")
    page.fill("#source", "{{ event.type }} {{ os_version }}")
    expect(bubble).to_contain_text("appSettings 3.8.1")
    with page.expect_download() as downloaded:
        page.click("text=下载文件")
    assert downloaded.value.suggested_filename == "crashlog.markdown.j2"
    assert Path(downloaded.value.path()).read_text() == "{{ event.type }} {{ os_version }}"


def test_a_preview_takes_at_most_300_ms(signed_in: Callable[..., Page]) -> None:
    """The quickest of several: where the machine is busy, some are slower, but never all."""
    page = signed_in("/templates/crashlog.markdown.j2")
    page.focus("#source")

    def is_quick() -> bool:
        with page.expect_response("**/templates/preview") as answered:
            page.keyboard.type("x")
        answered.value.finished()
        return 0 < answered.value.request.timing["responseEnd"] < 300

    until(is_quick, "a preview is quick")


def test_the_address_and_the_template_can_be_copied(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = signed_in("/", permissions=["clipboard-read", "clipboard-write"])
    page.click("#paste .copy >> nth=0")
    expect(page.locator("text=已复制")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == served.public
    page.click("summary")
    page.click("details .copy >> nth=1")
    page.wait_for_function(
        "wanted => navigator.clipboard.readText().then(text => text === wanted)",
        arg=f"{served.public}/dev",
    )
    page.goto(f"{served.console}/templates/crashlog.markdown.j2")
    page.fill("#source", "changed")
    page.click("text=复制文本")
    expect(page.locator("text=已复制")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "changed"


def test_the_language_can_be_switched_and_stays(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = signed_in("/bots")
    heading = page.locator("h1")
    expect(heading).to_have_text("机器人")
    page.click("text=English")
    expect(heading).to_have_text("Bots")
    page.goto(f"{served.console}/events?state=parked")
    expect(heading).to_have_text("Events")
    page.click("text=中文")
    expect(heading).to_have_text("事件")
    expect(page).to_have_url(f"{served.console}/events?state=parked")


@pytest.mark.parametrize(("locale", "scheme"), [("zh-CN", "dark"), ("en-US", "light")])
def test_every_page_fits_a_phone(
    locale: str, scheme: str, signed_in: Callable[..., Page], served: SimpleNamespace,
    visit: Callable[..., Page],
) -> None:  # fmt: skip
    visit.expected = 404  # type: ignore[attr-defined]
    page = signed_in("/", locale=locale, color_scheme=scheme, viewport=(390, 844))
    for path in PAGES:
        page.goto(f"{served.console}{path}")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, path
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", back)[:3])) < 200) is (scheme == "dark")


def test_hostile_text_runs_nothing_and_reaches_nothing(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    evil = "<img src=https://evil.invalid/x.png onerror=alert(1)><script>alert(1)</script>"
    body = {"type": "feedback", "title": evil, "notes": evil, evil: evil}
    number = requests.post(served.hook, data=json.dumps(body), timeout=20).json()["event"]
    page = signed_in(f"/events/{number}")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append("dialog"))
    for path in (f"/events/{number}", "/events", f"/templates/feedback.markdown.j2?id={number}"):
        page.goto(f"{served.console}{path}")
        expect(page.locator("main")).to_contain_text("alert(1)")
        expect(page.locator("main script, main img")).to_have_count(0)
    assert asked and all(url.startswith(served.url) for url in asked)


def test_without_javascript_everything_but_the_live_preview_works(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = signed_in("/events/2", java_script_enabled=False)
    before = len(served.box.messages("key-of-default"))
    page.select_option("[name=bot]", "default")
    page.click("text=发给这个机器人")
    expect(page.locator(".flash")).to_be_visible()  # before the next page is asked for
    until(lambda: len(served.box.messages("key-of-default")) == before + 1)
    page.goto(f"{served.console}/templates/crashlog.markdown.j2")
    page.select_option("[name=event]", "feedback")
    page.click("text=显示")
    expect(page.locator(".bubble")).to_contain_text("购物车里的商品还在")
    expect(page.locator("button.copy:visible")).to_have_count(0)
