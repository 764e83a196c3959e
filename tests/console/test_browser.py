"""The console in a real browser, over a real server, with the sandbox for WeCom.

With `PICTURES=write` (`make pictures`) these tests also take the README's pictures.
"""

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from console_client import PASSWORD
from support import ROOT, Deployment, until

from bridge.samples import samples
from bridge.sandbox import Sandbox, serve

CHROMIUM = "/usr/bin/chromium"
INSTALL = "apt-get install chromium fonts-wqy-microhei, and pip install -e '.[dev]'"
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PICTURES = ROOT / "docs"
PAGES = (
    "/", "/events", "/events?state=parked", "/events/1", "/bots", "/templates",
    "/templates/crashlog.markdown.j2", "/templates/_macros.j2", "/nowhere",
)  # fmt: skip

Page = Any  # playwright may be missing where these tests are only collected


def missing() -> str:
    """Say what a browser test lacks here, '' if nothing."""
    if not Path(CHROMIUM).exists():
        return f"there is no {CHROMIUM}: {INSTALL}"
    try:
        import playwright  # noqa: F401
    except ImportError:
        return f"there is no playwright: {INSTALL}"
    return ""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's chromium; where there is none these tests are skipped, but never in CI."""
    if why := missing():
        assert os.environ.get("CI") != "true", why
        pytest.skip(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


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
        until(lambda: len(box.messages()) == len(samples()), "all samples arrive")
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


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Page]]:
    """Open a page of a new visitor; at the end none may have complained of anything."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def complain(message: Any) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def make(address: str, **more: Any) -> Page:
        options = {"locale": "zh-CN", "viewport": {"width": 1200, "height": 860}, **more}
        context = browser.new_context(**options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", complain)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    make.complaints = complaints  # type: ignore[attr-defined]
    yield make
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def signed_in(visit: Callable[..., Page], served: SimpleNamespace) -> Callable[..., Page]:
    """Open a page of somebody who has signed in."""

    def make(path: str = "/", **more: Any) -> Page:
        page = visit(f"{served.console}{path}", **more)
        page.fill("#password", PASSWORD)
        page.click("main button")
        page.wait_for_url(f"{served.console}{path}")
        return page

    return make


def picture(page: Page, name: str, **more: Any) -> None:
    """Take a picture for the README, if this run is to take them."""
    if os.environ.get("PICTURES") == "write":
        PICTURES.mkdir(exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png", **more)


def test_the_sandbox_shows_the_groups(visit: Callable[..., Page], served: SimpleNamespace) -> None:
    page = visit(f"{served.sandbox}/", viewport={"width": 1000, "height": 720})
    page.wait_for_selector(".bubble")
    assert "开发群" in page.inner_text("main")
    picture(page, "sandbox")


def test_a_wrong_password_is_refused_and_the_right_one_opens(
    visit: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = visit(f"{served.console}/events")
    with page.expect_response(lambda answer: answer.request.method == "POST") as answered:
        page.fill("#password", "wrong")
        page.click("main button")
    assert answered.value.status == 401
    page.wait_for_selector("[role=alert]")
    assert "密码不对" in page.inner_text("[role=alert]")
    # The browser itself notes on its console that the answer was a 401.
    assert all("401" in text for text in visit.complaints)  # type: ignore[attr-defined]
    visit.complaints.clear()  # type: ignore[attr-defined]
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{served.console}/events")
    page.click("text=退出")
    page.wait_for_selector("#password")
    assert "已退出" in page.inner_text(".flash")


def test_filtering_opening_and_sending_again_reaches_the_group(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = signed_in("/")
    assert "一切正常" in page.inner_text(".verdict")
    picture(page, "console-overview", full_page=True)
    page.click("nav >> text=事件")
    assert page.locator(".events li").count() >= len(samples())
    page.select_option("[name=type]", "crashlog")
    page.click("text=筛选")
    page.wait_for_url("**type=crashlog**")
    assert page.locator(".events li").count() == 1
    page.click(".events a")
    page.wait_for_selector("#deliveries")
    assert "libsystem_kernel.dylib" in page.inner_text(".bubble")
    picture(page, "console-event")
    before = len(served.box.messages("key-of-dev"))
    page.click("text=重新发送")
    page.wait_for_selector(".flash")
    until(lambda: len(served.box.messages("key-of-dev")) == before + 1, "it arrives again")
    first, again = served.box.messages("key-of-dev")[0], served.box.messages("key-of-dev")[-1]
    assert again.payload == first.payload
    # The page learns by itself what became of it.
    page.wait_for_selector("#deliveries:not([data-pending])")
    assert page.locator("#deliveries .pill.sent").count() == 2


def test_a_test_message_to_another_bot_arrives(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = signed_in("/bots")
    before = len(served.box.messages("key-of-dev"))
    page.click("#bot-dev button >> text=发送测试消息")
    page.wait_for_url("**/events/*")
    until(lambda: len(served.box.messages("key-of-dev")) == before + 1)
    page.wait_for_selector("#deliveries .pill.sent")


def test_a_failed_delivery_shows_and_is_sent_again_from_the_page(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    served.box.fault("key-of-default", 44004)
    body = {"type": "updateVersion", "title": "Parked", "os_version": "9.9"}
    number = requests.post(served.hook, json=body, timeout=20).json()["event"]
    page = signed_in(f"/events/{number}")
    page.wait_for_selector("#deliveries .pill.parked")
    assert "消息为空" in page.inner_text("#deliveries")
    page.goto(f"{served.console}/")
    assert "1 条通知被企业微信拒收" in page.inner_text(".verdict.attention")
    page.click(".verdict a")
    page.click(".events a")
    page.click("#deliveries button >> text='重试'")
    page.wait_for_selector("#deliveries .pill.sent")
    page.goto(f"{served.console}/")
    page.wait_for_selector(".verdict.well")


def test_the_preview_follows_the_typing(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = signed_in("/templates/crashlog.markdown.j2")
    page.wait_for_selector("text=没有发现问题")
    page.focus("#source")
    page.keyboard.press("Control+End")
    with page.expect_response("**/templates/preview") as answered:
        page.keyboard.type("\n- 请 {{ titel }} 的同事看一下")
    assert answered.value.status == 200
    page.wait_for_selector(".bubble >> text=的同事看一下")
    page.wait_for_selector(".findings >> text=没有变量 titel：是想写 title 吗？")
    assert "列表" in page.inner_text(".findings")
    timing = answered.value.request.timing
    assert timing["responseEnd"] < 300
    picture(page, "console-preview")

    page.select_option("[name=event]", "feedback")
    page.wait_for_selector(".bubble >> text=修復了一些小弱智的小bug")
    page.fill("#source", "{% if %}")
    page.wait_for_selector(".findings .error >> text=第 1 行")
    page.fill("[name=id]", "1")
    page.keyboard.press("Enter")
    page.wait_for_selector(".findings .error")
    page.fill("#source", "{{ event.type }} {{ os_version }}")
    page.wait_for_selector(".bubble >> text=appSettings 2.4")
    with page.expect_download() as downloaded:
        page.click("text=下载文件")
    assert downloaded.value.suggested_filename == "crashlog.markdown.j2"
    assert Path(downloaded.value.path()).read_text() == "{{ event.type }} {{ os_version }}"


def test_the_address_and_the_template_can_be_copied(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = signed_in("/", permissions=["clipboard-read", "clipboard-write"])
    page.click("#paste .copy >> nth=0")
    page.wait_for_selector("text=已复制")
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
    page.wait_for_selector("text=已复制")
    assert page.evaluate("navigator.clipboard.readText()") == "changed"


def test_the_language_can_be_switched_and_stays(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = signed_in("/bots")
    assert page.inner_text("h1") == "机器人"
    page.click("text=English")
    page.wait_for_selector("h1 >> text=Bots")
    page.goto(f"{served.console}/events?state=parked")
    assert page.inner_text("h1") == "Events"
    page.click("text=中文")
    page.wait_for_selector("h1 >> text=事件")
    assert page.url == f"{served.console}/events?state=parked"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["zh-CN", "en-US"])
def test_every_page_fits_a_phone(
    locale: str, scheme: str, signed_in: Callable[..., Page], served: SimpleNamespace,
    visit: Callable[..., Page],
) -> None:  # fmt: skip
    page = signed_in(
        "/", locale=locale, color_scheme=scheme, viewport={"width": 390, "height": 844}
    )
    for path in PAGES:
        page.goto(f"{served.console}{path}")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, path
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", back)[:3])) < 200) is (scheme == "dark")
    # The browser itself notes on its console that the last one was a 404.
    assert all("404" in text for text in visit.complaints)  # type: ignore[attr-defined]
    visit.complaints.clear()  # type: ignore[attr-defined]


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
        page.wait_for_selector("main")
    assert all(url.startswith(served.url) for url in asked)
    assert page.locator("main script, main img").count() == 0


def test_without_javascript_everything_but_the_live_preview_works(
    signed_in: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = signed_in("/events/2", java_script_enabled=False)
    before = len(served.box.messages("key-of-default"))
    page.select_option("[name=bot]", "default")
    page.click("text=发给这个机器人")
    until(lambda: len(served.box.messages("key-of-default")) == before + 1)
    page.goto(f"{served.console}/templates/crashlog.markdown.j2")
    page.select_option("[name=event]", "feedback")
    page.click("text=显示")
    page.wait_for_selector(".bubble >> text=修復了一些小弱智的小bug")
    assert page.locator("button.copy:visible").count() == 0
