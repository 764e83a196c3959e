"""A message of each msgtype in the sandbox's page, in a real browser.

With `PICTURES=write` (`make pictures`) they become the pictures of `docs/messages.md`.
"""

import base64
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from browser import Page, expect, picture
from support import ROOT

from bridge.delivery.wecom import Client
from bridge.messages import attachments
from bridge.messages.renderer import Renderer
from bridge.model import Bot, Message, Secret, Target
from bridge.msgtypes import TEMPLATE_MSGTYPES
from bridge.samples import examples
from bridge.sandbox import Sandbox, serve

# Each msgtype's template, and what the group must be able to read in its message.
MESSAGES = {
    "markdown": ("updateVersion.markdown", "修复购物车数量显示不对的问题"),
    "markdown_v2": ("updateVersion.markdown_v2", "2091"),
    "text": ("crashlog.text", "IndexOutOfBoundsException"),
    "news": ("updateVersion.news", "商城 3.8.1 (2091)"),
    "template_card": ("updateVersion.template_card", "下载安装"),
}
NEW_VERSION, CRASH = examples()["updateVersion"], examples()["crashlog"]
[QRCODE] = attachments.qrcode(NEW_VERSION)
AT_PGYER = {"https://www.pgyer.com/app/qrcode/*": base64.b64decode(QRCODE.body["base64"])}


@pytest.fixture
def show(visit: Callable[..., Page]) -> Iterator[Callable[[Sequence[Message], str], Page]]:
    """Show messages in a group as wide as a phone, and take a picture of them under a name.

    Each time in a sandbox of their own, by one page of the browser.
    """
    pages: list[Page] = []
    with ExitStack() as stack:

        def make(messages: Sequence[Message], name: str) -> Page:
            url = stack.enter_context(serve(Sandbox({"key": "产品群"}, rate=None)))
            bot = Bot("default", Secret(f"{url}/cgi-bin/webhook/send?key=key"))
            for message in messages:
                outcome = Client().send(bot, message)
                if outcome.media_id:
                    outcome = Client().send(bot, Message("file", {"media_id": outcome.media_id}))
                assert outcome.reason == "ok"
            if pages:
                pages[0].goto(f"{url}/")
            else:
                pages.append(visit(f"{url}/", pictures=AT_PGYER, viewport=(430, 900)))
            [page] = pages
            expect(page.locator(".bubble")).to_have_count(len(messages))
            page.wait_for_function("[...document.images].every(image => image.naturalWidth > 0)")
            boxes = [page.locator(".said").nth(n).bounding_box() for n in range(len(messages))]
            top, bottom = boxes[0]["y"] - 12, boxes[-1]["y"] + boxes[-1]["height"] + 12
            clip = {"x": 0, "y": top, "width": 430, "height": bottom - top}
            picture(page, f"message-{name}", clip=clip)
            return page

        yield make


@pytest.fixture
def renderer(tmp_path: Path) -> Renderer:
    for path in [*ROOT.glob("templates/*.j2"), *ROOT.glob("templates/examples/*.j2")]:
        shutil.copy(path, tmp_path)
    return Renderer(tmp_path, ZoneInfo("Asia/Shanghai"))


def test_a_message_of_each_msgtype_is_shown(renderer: Renderer, show: Callable[..., Page]) -> None:
    for msgtype in TEMPLATE_MSGTYPES:
        template, shown = MESSAGES[msgtype]
        event = CRASH if template.startswith("crashlog") else NEW_VERSION
        messages = renderer.messages(event, Target("default", template=template))
        assert [message.msgtype for message in messages] == [msgtype]
        expect(show(messages, msgtype).locator(".bubble")).to_contain_text(shown)


def test_what_follows_a_message_is_shown(renderer: Renderer, show: Callable[..., Page]) -> None:
    long = replace(CRASH, payload={**CRASH.payload, "notes": CRASH.payload["notes"] * 20})
    target = Target("default", attach=("qrcode", "log"))
    _, *following = renderer.messages(long, target)
    assert [message.msgtype for message in following] == ["image", "file"]
    page = show(following, "attachments")
    expect(page.locator(".bubble").last).to_contain_text("crash")
