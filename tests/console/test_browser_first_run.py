"""The first steps of a new deployment, in a real browser over the real program."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from browser import Page, expect
from console_client import PASSWORD
from support import TOKEN, Deployment, environment

from bridge.sandbox import Sandbox, serve


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A bridge that has never sent or received anything, and its sandbox."""
    box = Sandbox({"key-of-default": "产品群", "key-of-dev": "开发群"}, rate=None)
    with serve(box) as url:
        more = {"WECOM_API_URL": url, "BRIDGE_ADMIN_PASSWORD": PASSWORD}
        bridge = Deployment(tmp_path, environment(tmp_path, **more)).start()
        yield SimpleNamespace(console=f"{bridge.url}/console", hook=f"{bridge.url}/pgyer/{TOKEN}")
        bridge.kill()


def test_the_first_steps_are_ticked_one_after_the_other(
    visit: Callable[..., Page], fresh: SimpleNamespace
) -> None:
    page = visit(f"{fresh.console}/")
    page.fill("#password", PASSWORD)
    page.click("main button")
    expect(page.locator(".checklist li")).to_have_count(3)
    expect(page.locator(".checklist li.done")).to_have_count(0)
    expect(page.locator(".verdict.well")).to_have_count(0)
    for name in ("default", "dev"):
        page.click(f"text=测试 {name}")
        page.wait_for_url("**/events/*")
        expect(page.locator("#deliveries .pill.sent")).to_be_visible()
        page.goto(f"{fresh.console}/")
    expect(page.locator(".checklist li.done")).to_have_count(1)
    page.click("text=地址和填写位置")
    expect(page.locator("#paste input").first).to_have_value(fresh.hook)
    assert requests.post(fresh.hook, json={"type": "updateVersion", "title": "商城"}, timeout=20).ok
    page.goto(f"{fresh.console}/")
    expect(page.locator(".verdict.well")).to_contain_text("一切正常")
    expect(page.locator(".checklist")).to_have_count(0)
