"""A WeCom message as safe HTML, as its group would see it, by `message.html` beside this file.

All text is escaped, and only http and https URLs become links or pictures. The style sheet for it
is `console/static/message.css`. The dialects are those of WeCom document 91770.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from bridge.model import Message, to_json

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
_QUOTE, _QUOTE_END = Markup('<blockquote class="quote">'), Markup("</blockquote>")


def to_html(message: Message) -> Markup:
    """Return a message of any msgtype as HTML; whatever is malformed in it is left out.

    For a `file`, a `filename` beside the `media_id` is shown, though WeCom's body has none.
    """
    html = _pages.get_template("message.html").render(message=message, body=message.body)
    return Markup(html.encode(errors="replace").decode())


def pick(box: object, *path: str) -> str:
    """Return the text under `path` in nested mappings, '' where there is none."""
    value = _value(box, *path)
    return value if isinstance(value, str) else ""


def _value(box: object, *path: str) -> object:
    for key in path:
        box = box.get(key) if isinstance(box, Mapping) else None
    return box


def items(box: object, key: str) -> list[Any]:
    """Return the list under `key` of a mapping, empty where there is none."""
    value = box.get(key) if isinstance(box, Mapping) else None
    return value if isinstance(value, list) else []


def _markdown(content: str) -> Markup:
    lines = content.strip("\n").split("\n")
    # Quoted lines that follow one another are one quote.
    return Markup("").join(map(_line, lines)).replace(_QUOTE_END + _QUOTE, "")


def _line(line: str) -> Markup:
    if line.startswith(">"):
        return _QUOTE + _row(line[1:].removeprefix(" ")) + _QUOTE_END
    if found := _HEADING.fullmatch(line):
        return Markup("<h{0}>{1}</h{0}>").format(len(found[1]), _inline(found[2]))
    return _row(line)


def _row(text: str, dialect: re.Pattern[str] = _MARKDOWN) -> Markup:
    return Markup("<div>{}</div>").format(_inline(text, dialect) or Markup("<br>"))


def _inline(text: str, dialect: re.Pattern[str] = _MARKDOWN) -> Markup:
    parts: list[str] = []
    end = 0
    for found in dialect.finditer(text):
        parts += (text[end : found.start()], _construct(found))
        end = found.end()
    return Markup("").join([*parts, text[end:]])


def _construct(found: re.Match[str]) -> Markup:
    match found.lastgroup:
        case "bold":
            return Markup("<strong>{}</strong>").format(_inline(found["bold"]))
        case "code":
            return Markup("<code>{}</code>").format(found["code"])
        case "url":
            return _link(found["url"], _inline(found["label"]))
        case "bare":
            return _link(found["bare"], found["bare"])
        case "inside":
            inside = _inline(found["inside"])
            return Markup('<span class="{}">{}</span>').format(found["color"], inside)
        case _:
            return _mention(found["who"])


def _mention(who: str) -> Markup:
    name = "所有人" if who in ("all", "@all") else who
    return Markup('<span class="mention">@{}</span>').format(name)


def _is_web(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _link(url: str, inner: str) -> Markup:
    if not inner or not _is_web(url):
        return escape(inner)
    opening = Markup('<a href="{}" rel="noreferrer" target="_blank">').format(url)
    return opening + inner + Markup("</a>")


def _ratio(value: object) -> float:
    """Return the width of a card's picture by its height, within what the document allows."""
    return min(2.25, max(1.3, value)) if isinstance(value, int | float) else 1.3


def _cut(text: str, size: int) -> str:
    return text.encode(errors="replace")[:size].decode(errors="ignore")


# What the document lists of markdown_v2, and nothing else of CommonMark.
_dialect2 = MarkdownIt("commonmark", {"html": False, "breaks": True})
_dialect2.validateLink = _is_web  # type: ignore[method-assign]
_dialect2.enable("table")
_dialect2.disable(["escape", "entity", "autolink", "reference", "lheading", "code"])


def _markdown_v2(content: str) -> Markup:
    blocks = _dialect2.parse(content)
    for token in (token for block in blocks for token in block.children or ()):
        if token.type == "link_open":
            token.attrs |= {"rel": "noreferrer", "target": "_blank"}
    return Markup(_dialect2.renderer.render(blocks, _dialect2.options, {}))


_pages = Environment(autoescape=True, loader=PackageLoader("bridge", "messages"))
_pages.filters["mention"] = _mention
_pages.globals |= {
    "pick": pick,
    "value": _value,
    "items": items,
    "markdown": _markdown,
    "markdown_v2": _markdown_v2,
    "text_line": partial(_row, dialect=_TEXT),
    "is_web": _is_web,
    "link": _link,
    "ratio": _ratio,
    "cut": _cut,
    "to_json": to_json,
}
