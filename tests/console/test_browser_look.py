"""A message looks as WeCom's document 91770 describes it: docs/look.md has the comparison.

With `PICTURES=write` (`make pictures`) this also takes the picture of that page.
"""

import base64
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
import requests
import segno
from browser import Page, expect
from support import PATIENCE, ROOT

from bridge.sandbox import SEND, UPLOAD, Sandbox, serve

MARKDOWN = """\
# 一级标题
### 三级标题
###### 六级标题
正文 **加粗** `代码` [链接](https://a.example)
> 引用第一行
> 引用 <font color="info">绿色</font> <font color="comment">灰色</font>
<font color="warning">橙红色</font> <@wangqing>
- 不是列表"""
MARKDOWN_V2 = """\
## 标题
- 列表
  - 下一层

> 引用
> > 再引用

|平台|大小|
|-|-|
|iOS|2 MB|

---
*斜体* `代码`"""


def picture(scale: int = 4, border: int = 2) -> bytes:
    out = io.BytesIO()
    segno.make("https://a.example").save(out, kind="png", scale=scale, border=border)
    return out.getvalue()


@pytest.fixture(scope="module")
def pictures() -> Iterator[str]:
    """The address of a picture, for those that a browser fetches itself."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.end_headers()
            self.wfile.write(picture())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/p.png"
        server.shutdown()


def messages(url: str) -> list[tuple[str, dict[str, Any]]]:
    raw, link = picture(6), {"type": 1, "url": "https://a.example"}
    article = {"title": "商城 3.8.2", "url": "https://a.example", "picurl": url}
    row = {"keyname": "平台", "value": "iOS"}
    card = {
        "source": {"icon_url": url, "desc": "蒲公英", "desc_color": 3},
        "main_title": {"title": "商城 3.8.2", "desc": "新版本"},
        "horizontal_content_list": [row, {"keyname": "官网", "value": "打开", **link}],
        "jump_list": [{"title": "下载安装", **link}],
        "card_action": link,
    }
    quote = {"quote_area": {"title": "更新说明", "quote_text": "修复登录\n更快"}}
    figure = {"emphasis_content": {"title": "3.8.2", "desc": "版本"}, "sub_title_text": "三处修复"}
    news = {
        "card_image": {"url": url, "aspect_ratio": 2.25},
        "image_text_area": {"image_url": url, "title": "左图", "desc": "右文"},
        "vertical_content_list": [{"title": "竖排标题", "desc": "竖排文字"}],
    }
    md5 = hashlib.md5(raw).hexdigest()
    return [
        ("markdown", {"content": MARKDOWN}),
        ("markdown_v2", {"content": MARKDOWN_V2}),
        ("text", {"content": "请看 https://a.example", "mentioned_list": ["wangqing", "@all"]}),
        ("image", {"base64": base64.b64encode(raw).decode(), "md5": md5}),
        ("news", {"articles": [{**article, "description": "修复登录"}, article]}),
        ("template_card", {"card_type": "text_notice", **card, **figure, **quote}),
        ("template_card", {"card_type": "news_notice", **card, **news}),
    ]


@pytest.fixture(scope="module")
def sandbox(pictures: str) -> Iterator[str]:
    with serve(Sandbox({"demo": "产品群", "more": "卡片"})) as url:
        for number, (msgtype, body) in enumerate(messages(pictures)):
            key = "demo" if number < 4 else "more"
            answer = requests.post(
                f"{url}{SEND}?key={key}", json={"msgtype": msgtype, msgtype: body}, timeout=PATIENCE
            )
            assert answer.json()["errcode"] == 0
        media = {"media": ("崩溃日志.txt", b"123456")}
        uploaded = requests.post(
            f"{url}{UPLOAD}?key=demo&type=file", files=media, timeout=PATIENCE
        ).json()
        file = {"msgtype": "file", "file": {"media_id": uploaded["media_id"]}}
        requests.post(f"{url}{SEND}?key=demo", json=file, timeout=PATIENCE)
        yield url


def style(page: Page, selector: str, name: str) -> str:
    found: str = page.eval_on_selector(selector, f"it => getComputedStyle(it)['{name}']")
    return found


def rgb(page: Page, selector: str, name: str = "color") -> list[int]:
    return [int(part) for part in re.findall(r"\d+", style(page, selector, name))[:3]]


def luminance(colour: list[int]) -> float:
    parts = [part / 255 for part in colour]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_group_looks_as_the_document_says(
    width: int, scheme: str, visit: Callable[..., Page], sandbox: str
) -> None:
    page = visit(f"{sandbox}/", viewport=(width, 1260), color_scheme=scheme)
    expect(page.locator(".bubble")).to_have_count(8)
    page.wait_for_function("[...document.images].every(it => it.complete && it.naturalWidth)")
    if os.environ.get("PICTURES") == "write" and scheme == "light":
        page.screenshot(path=ROOT / "docs" / "look.png")

    ground = rgb(page, ".bubble", "background-color")
    assert (luminance(ground) > 0.5) is (scheme == "light")
    red, green, blue = rgb(page, ".bubble .info")
    assert green > max(red, blue) + 40
    comment = rgb(page, ".bubble .comment")
    assert max(comment) - min(comment) < 20
    red, green, blue = rgb(page, ".bubble .warning")
    assert red > green > blue
    for name in ("info", "comment", "warning", "mention"):
        light, dark = sorted(map(luminance, (ground, rgb(page, f".bubble .{name}"))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, name

    markdown = page.locator("[data-msgtype=markdown]")
    expect(markdown.locator("blockquote")).to_have_count(1)
    assert style(page, ".bubble blockquote", "border-left-style") == "solid"
    assert style(page, ".bubble blockquote", "border-left-width") == "3px"
    assert rgb(page, ".bubble blockquote") == comment
    sizes = [float(style(page, f".bubble {tag}", "font-size")[:-2]) for tag in ("h1", "h3", "h6")]
    text = float(style(page, ".bubble", "font-size")[:-2])
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] > text
    expect(markdown.locator("li")).to_have_count(0)
    expect(page.locator("[data-msgtype=markdown_v2] li")).to_have_count(2)
    expect(page.locator(".file")).to_have_text("崩溃日志.txt")

    def box(selector: str, at: int = 0) -> dict[str, float]:
        found: dict[str, float] = page.locator(selector).nth(at).bounding_box()
        return found

    ratios = [box(".picture", at)["width"] / box(".picture", at)["height"] for at in range(4)]
    assert ratios == pytest.approx([1068 / 455, 1, 2.25, 1], rel=0.02)
    card = "[data-msgtype=template_card] >> nth=1 >> "
    assert box(card + ".title")["y"] < box(card + ".picture")["y"] < box(card + ".row")["y"]
    assert all(300 < box(".card", at)["width"] <= 320 for at in range(3))
    assert rgb(page, ".source.green") == rgb(page, ".bubble .info")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert max(box(".bubble", at)["width"] for at in range(8)) <= width
