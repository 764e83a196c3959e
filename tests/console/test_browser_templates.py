"""Editing templates in a real browser; each test has a template of its own."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from browser import Page, expect
from console_client import PASSWORD
from support import TOKEN, Deployment, environment, until

from bridge.sandbox import Sandbox, serve

DEFAULT = "default {{ title }} {{ link }}\n"
TEXT = "file {{ title }} {{ link }}\n"
NAMES = ("crashlog", "feedback", "versionChange", "appSettings", "deleteApp", "transferApp")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A bridge with a short template for every type, and its sandbox."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "templates").mkdir()
    for name, text in {**dict.fromkeys(NAMES, TEXT), "default": DEFAULT}.items():
        (folder / "templates" / f"{name}.markdown.j2").write_text(text)
    box = Sandbox({"key-of-default": "产品群", "key-of-dev": "开发群"}, rate=None)
    with serve(box) as url:
        more = {
            "WECOM_API_URL": url,
            "BRIDGE_ADMIN_PASSWORD": PASSWORD,
            "BRIDGE_TEMPLATES": str(folder / "templates"),
            "BRIDGE_RATE": "1000",
        }
        bridge = Deployment(folder, environment(folder, **more)).start()
        yield SimpleNamespace(
            console=f"{bridge.url}/console", hook=f"{bridge.url}/pgyer/{TOKEN}", box=box
        )
        bridge.kill()


@pytest.fixture
def open_page(signed_in: Callable[..., Page]) -> Callable[..., Page]:
    """Open a page, or that of a template, as somebody who has signed in."""

    def make(path: str, **more: Any) -> Page:
        return signed_in(path if path.startswith("/") else f"/templates/{path}.markdown.j2", **more)

    return make


def message(served: SimpleNamespace, kind: str) -> str:
    """Post an event, and return what the group gets."""
    before = len(served.box.messages())
    number = f"{kind} {before}"
    assert requests.post(served.hook, json={"type": kind, "title": number}, timeout=20).ok
    until(lambda: len(served.box.messages()) > before, f"{number} arrives")
    content: str = served.box.messages()[-1].payload["markdown"]["content"]
    return content.replace(number, "#")


def save(page: Page, text: str) -> None:
    page.fill("#source", text)
    page.click("button.main")
    expect(page.locator(".flash")).to_contain_text("从下一条消息起生效")


def test_a_text_is_saved_and_used(open_page: Callable[..., Page], served: SimpleNamespace) -> None:
    page = open_page("crashlog")
    assert message(served, "crashlog") == "file #"
    save(page, "mine {{ title }} {{ link }}")
    expect(page.locator("#source")).to_have_value("mine {{ title }} {{ link }}")
    expect(page.locator("h1")).to_contain_text("已在此编辑")
    expect(page.locator("#draft")).to_be_hidden()
    assert message(served, "crashlog") == "mine #"
    page.goto(f"{served.console}/")
    page.click("text=crashlog.markdown.j2")
    page.wait_for_url("**/templates/crashlog.markdown.j2")


def test_what_cannot_be_saved_stays_in_the_editor(
    open_page: Callable[..., Page], served: SimpleNamespace, visit: Any
) -> None:
    visit.expected = 422
    page = open_page("feedback")
    page.fill("#source", "one\n{% if %}")
    page.click("button.main")
    expect(page.locator("[role=alert]")).to_contain_text("没有改动")
    expect(page.locator("[role=alert]")).to_contain_text("第 2 行")
    expect(page.locator("#source")).to_have_value("one\n{% if %}")
    expect(page.locator("#draft")).to_be_visible()
    assert message(served, "feedback") == "file #"
    save(page, "corrected {{ title }}")
    expect(page.locator("#draft")).to_be_hidden()
    expect(page.locator("[role=alert]")).to_have_count(0)
    assert message(served, "feedback") == "corrected #"


def test_versions_are_compared_and_put_back(
    open_page: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = open_page("versionChange")
    save(page, TEXT + "one")
    save(page, "two {{ title }}")
    rows = page.locator("#versions li")
    expect(rows).to_have_count(3)
    expect(rows.nth(0).locator(".pill")).to_have_text("使用中")
    rows.nth(1).locator("summary").click()
    expect(rows.nth(1).locator(".added")).to_have_text("+one")
    page.click("text=恢复到这个版本")
    expect(page.locator(".flash")).to_contain_text("已恢复到这个版本")
    expect(page.locator("#source")).to_have_value(TEXT + "one")
    assert message(served, "versionChange") == "file # \none"
    page.click("text=恢复为文件的内容 >> visible=true")
    expect(page.locator(".flash")).to_contain_text("已恢复为文件的内容")
    expect(page.locator("#source")).to_have_value(TEXT)
    assert message(served, "versionChange") == "file #"


def test_a_draft_is_kept_until_it_is_dropped_or_saved(
    open_page: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = open_page("appSettings")
    note, source = page.locator("#draft"), page.locator("#source")
    expect(note).to_be_hidden()
    page.fill("#source", "a draft {{ title }}")
    expect(note).to_contain_text("尚未保存")
    page.goto(f"{served.console}/templates/deleteApp.markdown.j2")
    expect(source).to_have_value(TEXT)
    expect(note).to_be_hidden()
    page.goto(f"{served.console}/templates/appSettings.markdown.j2")
    expect(source).to_have_value("a draft {{ title }}")
    expect(note).to_contain_text("尚未保存")
    expect(page.locator(".bubble")).to_contain_text("a draft")
    page.click("text=放弃草稿")
    expect(source).to_have_value(TEXT)
    expect(note).to_be_hidden()
    expect(page.locator(".bubble")).to_contain_text("file")
    page.reload()
    expect(source).to_have_value(TEXT)
    page.fill("#source", "another {{ title }}")
    expect(note).to_be_visible()
    page.reload()
    expect(source).to_have_value("another {{ title }}")
    page.click("button.main")
    expect(page.locator(".flash")).to_be_visible()
    expect(note).to_be_hidden()
    page.reload()
    expect(note).to_be_hidden()
    assert page.evaluate("localStorage.length") == 0


def test_a_draft_of_a_text_that_somebody_else_has_changed_says_so_before_it_replaces_that(
    open_page: Callable[..., Page], visit: Any
) -> None:
    visit.expected = 422
    page, other = open_page("feedback"), open_page("feedback")
    page.fill("#source", "a draft {{ title }}")
    expect(page.locator("#draft")).to_be_visible()
    save(other, "theirs {{ title }}")
    page.reload()
    expect(page.locator("#source")).to_have_value("a draft {{ title }}")
    page.click("button.main")
    expect(page.locator("[role=alert]")).to_contain_text("下方的“版本”列表")
    expect(page.locator("#source")).to_have_value("a draft {{ title }}")
    page.click("text=English")
    page.wait_for_url("**/templates/feedback.markdown.j2")
    page.click("text=中文")
    expect(page.locator("#source")).to_have_value("a draft {{ title }}")
    save(page, "mine {{ title }}")


def test_a_preview_after_the_session_has_ended_says_so(open_page: Callable[..., Page]) -> None:
    page = open_page("deleteApp")
    page.context.clear_cookies()
    page.fill("#source", "typed {{ title }}")
    expect(page.locator("#preview")).to_contain_text("没有响应：无法连接本服务，或需要重新登录")


def test_a_field_with_a_very_long_name_leaves_room_for_values(
    open_page: Callable[..., Page], served: SimpleNamespace
) -> None:
    event = {"type": "deleteApp", "title": "长", "f" * 100: "value", "n" + "-x" * 60: "value"}
    number = requests.post(served.hook, json=event, timeout=20).json()["event"]
    page = open_page(f"/events/{number}")
    narrow = "Math.min(...[...document.querySelectorAll('dd')].map((dd) => dd.clientWidth))"
    assert page.evaluate(narrow) > 100
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate(narrow) > 100
    page.goto(f"{served.console}/templates/deleteApp.markdown.j2?event={number}")
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate(narrow) > 100
    page.set_viewport_size({"width": 1200, "height": 860})
    assert page.evaluate(narrow) > 100
    assert page.evaluate("document.documentElement.scrollWidth") <= 1200


def test_variables_filters_and_examples_come_by_a_click(open_page: Callable[..., Page]) -> None:
    page = open_page("deleteApp")
    source = page.locator("#source")
    page.fill("#source", "ab")
    page.evaluate("document.getElementById('source').setSelectionRange(1, 1)")
    page.evaluate("document.querySelector('#variables button').is_same = true")
    page.click("#variables summary")
    page.click("#variables button >> text='title'")
    expect(source).to_have_value("a{{ title }}b")
    expect(page.locator(".bubble")).to_contain_text("a商城旧版b")
    # A preview that replaced the buttons would take a click under way with them.
    assert page.evaluate("document.querySelector('#variables button').is_same")
    page.click("#filters summary")
    page.click("#filters button >> text=filesize")
    expect(source).to_have_value("a{{ title }}{{ appsize|filesize }}b")
    page.focus("#source")
    page.keyboard.press("Control+z")
    expect(source).to_have_value("a{{ title }}b")
    expect(page.locator("#variables")).to_have_attribute("open", "")  # a new preview left it open
    page.click("#starts summary")
    page.click("#starts >> text=default.markdown.j2")
    expect(source).to_have_value(DEFAULT)
    page.click("text=放弃草稿")


def test_json_of_one_s_own_is_shown(
    open_page: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = open_page("transferApp")
    page.click("#pasted summary")
    page.fill("[name=payload]", "{'title': '粘贴的', type: 'crashlog'}")
    expect(page.locator(".bubble")).to_contain_text("file 粘贴的")
    expect(page.locator("select[name=event]")).to_have_value("pasted")
    expect(page.locator("#variables dd").nth(0)).to_contain_text("粘贴的")
    page.fill("[name=payload]", "nothing")
    expect(page.locator(".findings .error")).to_contain_text("无法解析")
    page.select_option("[name=event]", "feedback")
    expect(page.locator(".bubble")).to_contain_text("file 商城")
    page.click("text=用这段 JSON 预览")
    expect(page.locator(".findings .error")).to_contain_text("无法解析")


def test_the_message_is_as_wide_as_a_phone_unless_one_wants_it_wider(
    open_page: Callable[..., Page],
) -> None:
    page = open_page("transferApp")
    narrow = page.locator(".group").bounding_box()["width"]
    page.click("text=手机宽度")
    wide = page.locator(".group").bounding_box()["width"]
    assert narrow < 390 < wide


def test_a_template_is_made_and_removed(
    open_page: Callable[..., Page], served: SimpleNamespace, visit: Any
) -> None:
    visit.expected = 422
    page = open_page("/templates")
    page.fill("[name=name]", "UpdateVersion.markdown")
    page.click("#new button")
    expect(page.locator("[role=alert]")).to_contain_text("改名为 updateVersion.markdown.j2")
    expect(page.locator("[name=name]")).to_have_value("UpdateVersion.markdown")
    page.fill("[name=name]", "updateVersion.markdown")
    page.click("#new button")
    page.wait_for_url("**/templates/updateVersion.markdown.j2")
    save(page, "new {{ title }}")
    assert message(served, "updateVersion") == "new #"
    page.click("text=删除这个模板")
    page.wait_for_url("**/templates")
    expect(page.locator(".files")).not_to_contain_text("updateVersion")
    assert message(served, "updateVersion") == "default #"


def test_without_javascript_all_forms_work(
    open_page: Callable[..., Page], served: SimpleNamespace
) -> None:
    page = open_page("/templates", java_script_enabled=False)
    page.fill("[name=name]", "plain.markdown.j2")
    page.select_option("[name=start]", "feedback.markdown.j2")
    page.click("#new button")
    expect(page.locator("#source")).to_have_value(TEXT)
    page.fill("#source", "plain {{ title }}")
    page.click("#pasted summary")
    page.fill("[name=payload]", '{"title": "粘贴的"}')
    page.click("text=用这段 JSON 预览")
    expect(page.locator(".bubble")).to_have_text("plain 粘贴的")
    page.fill("#source", "saved {{ title }}")
    page.click("button.main")
    expect(page.locator(".flash").first).to_be_visible()
    expect(page.locator("#source")).to_have_value("saved {{ title }}")
    page.click("#starts summary")
    page.click("#starts a >> text=default.markdown.j2")
    expect(page.locator("#source")).to_have_value(DEFAULT)
    page.click("text=恢复到这个版本")
    expect(page.locator("#source")).to_have_value(TEXT)
    page.click("text=删除这个模板")
    expect(page.locator(".files")).not_to_contain_text("plain.markdown.j2")


@pytest.mark.parametrize(("locale", "scheme"), [("zh-CN", "dark"), ("en-US", "light")])
def test_the_page_fits_a_phone_with_everything_open(
    locale: str, scheme: str, open_page: Callable[..., Page]
) -> None:
    page = open_page("default", locale=locale, color_scheme=scheme, viewport=(390, 844))
    page.fill("#source", f"{locale} {scheme} {{{{ title }}}} " + "x" * 200)
    page.click("button.main")
    expect(page.locator(".flash")).to_be_visible()
    page.fill("#source", "a draft")
    expect(page.locator("#draft")).to_be_visible()
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # All in one step: a preview that comes meanwhile would replace some.
    edges = (
        "all => all.map(it => [it.getBoundingClientRect().left, it.getBoundingClientRect().right])"
    )
    found = page.locator("button:visible").evaluate_all(edges)
    assert all(left >= 0 and right <= 390 for left, right in found)
