"""A WeCom message as safe HTML, as its group would see it; nothing here does any I/O.

All text is escaped, and only http and https URLs become links or pictures. Classes for the page's
style sheet: info, comment, warning, mention, quote, card, title, desc, source, emphasis, rows,
buttons, file. The dialects are those of WeCom document 91770.
"""

import json
import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from markdown_it import MarkdownIt

from bridge.model import Message

_Body = Mapping[str, Any]

# Possessive throughout, and no construct contains its own opening: so hostile text costs linear
# time, and constructs nest only as deep as there are kinds of them.
_MARKDOWN = re.compile(
    r"\*\*(?P<bold>(?:(?!\*\*).)++)\*\*"
    r"|\[(?P<label>(?:[^\[\]]|\[[^\[\]]*+\](?!\())++)\]\((?P<url>https?://[^()\s\u200b]++)\)"
    r"|`(?P<code>[^`]++)`"
    r'|<font color="(?P<color>info|comment|warning)">(?P<inside>(?:(?!</?font).)*+)</font>'
    r"|<@(?P<who>[^<>\s\u200b]++)>"
)
_TEXT = re.compile(r"<@(?P<who>[^<>\s\u200b]++)>|(?P<bare>https?://[!#-;=?-~]*[A-Za-z0-9/=&#%_~-])")
_HEADING = re.compile(r"(#{1,6}) (.*)")
_QUOTE, _QUOTE_END = '<blockquote class="quote">', "</blockquote>"


def to_html(message: Message) -> str:
    """Return a message of any msgtype as HTML; whatever is malformed in it is left out.

    For a `file`, a `filename` beside the `media_id` is shown, though WeCom's body has none.
    """
    show = _KINDS.get(message.msgtype)
    whole = show(message.body) if show else f"<pre>{escape(json.dumps(message.to_json()))}</pre>"
    return whole.encode(errors="replace").decode()


def pick(box: object, *path: str) -> str:
    """Return the text under `path` in nested mappings, '' where there is none."""
    for key in path:
        box = box.get(key) if isinstance(box, Mapping) else None
    return box if isinstance(box, str) else ""


def items(box: object, key: str) -> list[Any]:
    """Return the list under `key` of a mapping, empty where there is none."""
    value = box.get(key) if isinstance(box, Mapping) else None
    return value if isinstance(value, list) else []


def _markdown(body: _Body) -> str:
    lines = pick(body, "content").strip("\n").split("\n")
    # Quoted lines that follow one another are one quote.
    return "".join(map(_line, lines)).replace(_QUOTE_END + _QUOTE, "")


def _line(line: str) -> str:
    if line.startswith(">"):
        return _QUOTE + _row(line[1:].removeprefix(" ")) + _QUOTE_END
    if found := _HEADING.fullmatch(line):
        return f"<h{len(found[1])}>{_inline(found[2])}</h{len(found[1])}>"
    return _row(line)


def _row(text: str, dialect: re.Pattern[str] = _MARKDOWN) -> str:
    return f"<div>{_inline(text, dialect) or '<br>'}</div>"


def _inline(text: str, dialect: re.Pattern[str] = _MARKDOWN) -> str:
    parts: list[str] = []
    end = 0
    for found in dialect.finditer(text):
        parts += (escape(text[end : found.start()]), _construct(found))
        end = found.end()
    return "".join(parts) + escape(text[end:])


def _construct(found: re.Match[str]) -> str:
    match found.lastgroup:
        case "bold":
            return f"<strong>{_inline(found['bold'])}</strong>"
        case "code":
            return f"<code>{escape(found['code'])}</code>"
        case "url":
            return _link(found["url"], _inline(found["label"]))
        case "bare":
            return _link(found["bare"], escape(found["bare"]))
        case "inside":
            return f'<span class="{found["color"]}">{_inline(found["inside"])}</span>'
        case _:
            return _mention(found["who"])


def _mention(who: str) -> str:
    name = "所有人" if who in ("all", "@all") else who
    return f'<span class="mention">@{escape(name)}</span>'


def _is_web(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _link(url: str, inner: str) -> str:
    opening = f'<a href="{escape(url)}" rel="noreferrer" target="_blank">'
    return f"{opening}{inner}</a>" if _is_web(url) and inner else inner


def _picture(url: str) -> str:
    return f'<img src="{escape(url)}" alt="" referrerpolicy="no-referrer">' if _is_web(url) else ""


def _part(css: str, inner: str) -> str:
    return f'<div class="{css}">{inner}</div>' if inner else ""


def _escaped(box: object, *path: str) -> str:
    return escape(pick(box, *path))


class _Dialect2(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        return _is_web(url)


# What the document lists of markdown_v2, and nothing else of CommonMark.
_dialect2 = _Dialect2("commonmark", {"html": False, "breaks": True})
_dialect2.enable("table")
_dialect2.disable(["escape", "entity", "autolink", "reference", "lheading", "code"])


def _markdown_v2(body: _Body) -> str:
    blocks = _dialect2.parse(pick(body, "content"))
    for token in (token for block in blocks for token in block.children or ()):
        if token.type == "link_open":
            token.attrs |= {"rel": "noreferrer", "target": "_blank"}
    return str(_dialect2.renderer.render(blocks, _dialect2.options, {}))


def _text(body: _Body) -> str:
    called = items(body, "mentioned_list") + items(body, "mentioned_mobile_list")
    chips = " ".join(_mention(who) for who in called if isinstance(who, str))
    lines = pick(body, "content").splitlines()
    return "".join(_row(line, _TEXT) for line in lines) + _part("mentions", chips)


def _news(body: _Body) -> str:
    return "".join(map(_article, items(body, "articles")))


def _article(article: object) -> str:
    title = _link(pick(article, "url"), _cut(pick(article, "title"), 128))
    desc = _cut(pick(article, "description"), 512)
    picture = _picture(pick(article, "picurl"))
    return _part("card", picture + _part("title", title) + _part("desc", desc))


def _cut(text: str, size: int) -> str:
    return escape(text.encode(errors="replace")[:size].decode(errors="ignore"))


def _template_card(card: _Body) -> str:
    action = pick(card, "card_action", "url")
    title, sub_title = _escaped(card, "main_title", "title"), _escaped(card, "sub_title_text")
    quote = _part("title", _escaped(card, "quote_area", "title"))
    quote += _part("desc", _escaped(card, "quote_area", "quote_text"))
    rows = map(_card_row, items(card, "horizontal_content_list"))
    jumps = items(card, "jump_list")
    buttons = (_link(pick(jump, "url"), _escaped(jump, "title")) for jump in jumps)
    inside = (
        _part("source", _escaped(card, "source", "desc")),
        _picture(pick(card, "card_image", "url")),
        _part("title", _link(action, title)),
        _part("desc", _escaped(card, "main_title", "desc")),
        _part("emphasis", _escaped(card, "emphasis_content", "title")),
        _part("desc", _escaped(card, "emphasis_content", "desc")),
        _part("quote", quote),
        _part("desc", sub_title if title else _link(action, sub_title)),
        _part("rows", "".join(rows)),
        _part("buttons", "".join(buttons)),
    )
    return _part("card", "".join(inside))


def _card_row(row: object) -> str:
    value = _link(pick(row, "url"), _escaped(row, "value"))
    return _part("row", f"<span>{_escaped(row, 'keyname')}</span> <span>{value}</span>")


def _image(body: _Body) -> str:
    data = pick(body, "base64")
    kind = "jpeg" if data.startswith("/9j/") else "png"
    return f'<img src="data:image/{kind};base64,{escape(data)}" alt="">'


def _file(body: _Body) -> str:
    return _part("file", _escaped(body, "filename") or "文件")


_KINDS: Mapping[str, Callable[[_Body], str]] = {
    "markdown": _markdown,
    "markdown_v2": _markdown_v2,
    "text": _text,
    "news": _news,
    "template_card": _template_card,
    "image": _image,
    "file": _file,
}
