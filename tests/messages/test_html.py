"""A preview shows what the group would see, and nothing in a message can break out of it."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from support import takes_less

from bridge.messages.html import to_html
from bridge.model import Message

ZWSP = "\u200b"


def v1(content: str) -> str:
    return to_html(Message("markdown", {"content": content}))


def v2(content: str) -> str:
    return to_html(Message("markdown_v2", {"content": content}))


def text(content: str, **more: Any) -> str:
    return to_html(Message("text", {"content": content, **more}))


def card(**body: Any) -> str:
    return to_html(Message("template_card", body))


class Reading(HTMLParser):
    """What a browser would make of the HTML: its tags, their URLs, and its visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.urls: list[str] = []
        self.text = ""
        self.feed(str(html))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}
        self.urls += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("content", "html"),
    [
        ("# 标题", "<h1>标题</h1>"),
        ("###### six", "<h6>six</h6>"),
        ("**bold**", "<div><strong>bold</strong></div>"),
        ("`a**b**`", "<div><code>a**b**</code></div>"),
        ("one\ntwo", "<div>one</div><div>two</div>"),
        ("one\n\ntwo", "<div>one</div><div><br></div><div>two</div>"),
        (
            ">a\n> b\nc",
            '<blockquote class="quote"><div>a</div><div>b</div></blockquote><div>c</div>',
        ),
        ('<font color="info">x</font>', '<div><span class="info">x</span></div>'),
        (
            '**<font color="warning">x</font>**',
            '<div><strong><span class="warning">x</span></strong></div>',
        ),
        ("<@wangqing>", '<div><span class="mention">@wangqing</span></div>'),
        (
            "[**下载** [iOS]](https://a.b/?q=1&r=2)",
            '<div><a href="https://a.b/?q=1&amp;r=2" rel="noreferrer" target="_blank">'
            "<strong>下载</strong> [iOS]</a></div>",
        ),
    ],
)
def test_markdown_shows_each_construct_of_its_dialect(content: str, html: str) -> None:
    assert v1(content) == html


@pytest.mark.parametrize(
    "content",
    [
        "- item",
        "1. item",
        "*italic*",
        "_italic_",
        "~~gone~~",
        "| a | b |",
        "```",
        "---",
        "#heading",
        "####### seven",
        r"\n",
        "&amp;",
        '<font color="red">x</font>',
        "<b>x</b>",
        "**open",
        "`open",
        "[x](ftp://a.b)",
        f"<{ZWSP}@all>",
        f"[x]{ZWSP}(https://a.b)",
        f"[x](https://a.b{ZWSP}/)",
        f"*{ZWSP}*x*{ZWSP}*",
        f"{ZWSP}# x",
        f"{ZWSP}> x",
        f'<{ZWSP}font color="info">x<{ZWSP}/font>',
        f"`{ZWSP}x",
        f"<@al{ZWSP}l>",
    ],
)
def test_markdown_shows_everything_else_as_typed(content: str) -> None:
    shown = Reading(v1(content))
    assert shown.tags == {"div"}
    assert shown.text == content


def test_a_backslash_escapes_nothing_in_markdown() -> None:
    assert Reading(v1(r"\**x**")).text == r"\x"


@pytest.mark.parametrize("show", [v1, v2, text])
@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        '<img src=x onerror="alert(1)">',
        "[x](javascript:alert(1))",
        "![x](javascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "<javascript:alert(1)>",
        '[x](https://a.b/"onmouseover="alert(1))',
        "[<script>](https://a.b/'onclick='alert)",
        '<@"><script>alert(1)</script>>',
        '<font color="info"><script>alert(1)</script></font>',
        "`<script>`",
        "# <script>",
        "> <script>",
        'https://a.b/"><script>',
        "```html\n<script>\n```",
        "| <script> | b |\n|---|---|\n| <img src=x> | c |",
    ],
)
def test_no_content_can_inject_markup_or_a_script_url(show: Any, attack: str) -> None:
    shown = Reading(show(attack))
    assert not shown.tags & {"script", "font"}
    assert not any(name.startswith("on") for name in shown.names)
    assert all(url.startswith("https://a.b/") for url in shown.urls)


@pytest.mark.parametrize(
    "msgtype", ["markdown", "markdown_v2", "text", "news", "template_card", "image", "file"]
)
@pytest.mark.parametrize("value", [None, 7, "x", [], [None], {"title": 7}, [[1]], "\ud800"])
def test_a_malformed_body_still_shows(msgtype: str, value: Any) -> None:
    names = ["content", "mentioned_list", "articles", "main_title", "horizontal_content_list"]
    names += ["jump_list", "base64", "filename", "source", "card_image", "image_text_area"]
    names += ["quote_area", "vertical_content_list"]
    to_html(Message(msgtype, dict.fromkeys(names, value))).encode()


def test_an_unknown_msgtype_shows_its_json_escaped() -> None:
    shown = Reading(to_html(Message("voice", {"a": "<b>"})))
    assert (shown.tags, shown.text) == ({"pre"}, '{"msgtype": "voice", "voice": {"a": "<b>"}}')


@pytest.mark.parametrize(
    "piece",
    ["<font", "**", "[", "`", "<@", '<font color="info">', "[a](https://b", "[a[b]", "**a",
     "***a**", "http://", "http://!", '**<font color="info">[`', "#", ">"],
)  # fmt: skip
@pytest.mark.parametrize("show", [v1, text])
def test_hostile_content_costs_little_and_linear_time(show: Any, piece: str) -> None:
    content = (piece * 65536)[:65536]
    # 16 times the limit of a message; quadratic: > 5 s
    assert takes_less(0.5, lambda: show(content))


def test_markdown_v2_shows_lists_tables_pictures_and_fences() -> None:
    shown = Reading(
        v2(
            "# h\n- *a* **b**\n  - c\n\n> q\n\n|a|b|\n|-|-|\n|1|2|\n\n---\n![p](https://a.b/p.png)\n```\nx\n```"
        )
    )
    assert {"h1", "ul", "em", "strong", "blockquote", "table", "hr", "img", "pre"} <= shown.tags


def test_markdown_v2_opens_links_elsewhere() -> None:
    html = v2("[x](https://a.b)")
    assert html == '<p><a href="https://a.b" rel="noreferrer" target="_blank">x</a></p>\n'


@pytest.mark.parametrize(
    "content", ['<font color="info">x</font>', "<@wangqing>", r"&amp; \*", "<https://a.b>"]
)
def test_markdown_v2_knows_no_colour_mention_escape_or_entity(content: str) -> None:
    shown = Reading(v2(content))
    assert (shown.tags, shown.text.strip()) == ({"p"}, content)


@pytest.mark.parametrize(
    "content", [f"!{ZWSP}[x]{ZWSP}(https://a.b)", f"{ZWSP}---", f"`{ZWSP}``", f"*{ZWSP}*x*{ZWSP}*"]
)
def test_markdown_v2_shows_defused_text_as_typed(content: str) -> None:
    assert not Reading(v2(content)).tags & {"img", "a", "hr", "pre", "strong"}


def test_text_shows_mentions_in_place_and_called_people_at_the_end() -> None:
    html = text("hi <@lisi>", mentioned_list=["@all"], mentioned_mobile_list=["13800001111"])
    assert html == (
        '<div>hi <span class="mention">@lisi</span></div><div class="mentions">'
        '<span class="mention">@所有人</span> <span class="mention">@13800001111</span></div>'
    )


def test_text_links_bare_urls_up_to_the_punctuation_and_shows_markdown_as_typed() -> None:
    shown = Reading(text("**见** https://a.b/c?d=1，或 https://e.f/."))
    assert shown.urls == ["https://a.b/c?d=1", "https://e.f/"]
    assert shown.text == "**见** https://a.b/c?d=1，或 https://e.f/."


def test_news_shows_cards_cut_as_the_server_cuts_them() -> None:
    article = {"title": "标" * 60, "description": "d" * 600, "url": "https://a.b", "picurl": "x:y"}
    shown = Reading(to_html(Message("news", {"articles": [article]})))
    assert shown.text == "标" * 42 + "d" * 512  # 128 bytes hold 42 whole characters
    assert shown.urls == ["https://a.b"]


def test_a_news_picture_is_shown_from_http_only() -> None:
    article = {"title": "t", "url": "javascript:alert(1)", "picurl": "https://a.b/p.png"}
    shown = Reading(to_html(Message("news", {"articles": [article]})))
    assert shown.urls == ["https://a.b/p.png"]


def test_several_articles_are_one_card_whose_first_has_the_large_picture() -> None:
    one = {"title": "t", "url": "https://a.b", "picurl": "https://a.b/p.png"}
    html = to_html(Message("news", {"articles": [one, one, {}]}))
    assert html.count('class="card"') == 1
    assert re.findall(r'class="(article[^"]*)"', html) == ["article", *["article beside"] * 2]
    assert re.findall(r'viewBox="0 0 ([\d.]{1,4})', html) == ["2.34", "1"]


def test_a_template_card_shows_all_its_fields_in_the_order_of_the_document() -> None:
    html = card(
        card_type="news_notice",
        source={"icon_url": "https://a.b/s.png", "desc": "蒲公英", "desc_color": 2},
        main_title={"title": "应用", "desc": "更新"},
        card_image={"url": "https://a.b/i.png", "aspect_ratio": 2.25},
        image_text_area={
            "type": 1, "url": "https://a.b/t", "title": "左图", "desc": "右文",
            "image_url": "https://a.b/t.png",
        },
        emphasis_content={"title": "1.8", "desc": "版本"},
        quote_area={"type": 1, "url": "https://a.b/q", "title": "说明", "quote_text": "更快"},
        sub_title_text="三处修复",
        vertical_content_list=[{"title": "竖排", "desc": "文字"}],
        horizontal_content_list=[{"keyname": "平台", "value": "iOS", "url": "https://a.b/r"}],
        jump_list=[{"type": 1, "title": "打开", "url": "https://a.b/j"}, {"title": "<b>"}],
        card_action={"type": 1, "url": "https://a.b/c"},
    )  # fmt: skip
    shown = Reading(html)
    assert shown.text == "蒲公英应用更新1.8版本左图右文说明更快三处修复竖排文字平台 iOS打开<b>"
    urls = ("s.png", "c", "i.png", "t.png", "t", "q", "r", "j")
    assert shown.urls == [f"https://a.b/{at}" for at in urls]
    assert 'class="source red"' in html


@pytest.mark.parametrize(
    ("given", "shown"),
    [(2.25, "2.25"), (1.5, "1.5"), (9, "2.25"), (0, "1.3"), (None, "1.3"), ("2", "1.3"),
     (float("nan"), "1.3"), (float("inf"), "2.25")],
)  # fmt: skip
def test_a_card_s_picture_has_a_ratio_that_the_document_allows(given: Any, shown: str) -> None:
    html = card(card_image={"url": "https://a.b/i.png", "aspect_ratio": given})
    assert f'viewBox="0 0 {shown} 1"' in html


def test_a_card_without_title_is_opened_by_its_sub_title() -> None:
    html = card(sub_title_text="x", card_action={"url": "https://a.b"})
    assert '<a href="https://a.b" rel="noreferrer" target="_blank">x</a>' in html


def test_an_image_is_inline_and_a_file_shows_its_name() -> None:
    image = Reading(to_html(Message("image", {"base64": '/9j/"><script>'})))
    assert image.urls == ['data:image/jpeg;base64,/9j/"><script>']
    assert (image.tags, image.names, image.text) == ({"img"}, {"src", "alt"}, "")
    assert to_html(Message("file", {"media_id": "3x"})) == '<div class="file">文件</div>'
    assert "&lt;a&gt;.txt" in to_html(Message("file", {"filename": "<a>.txt"}))
