"""What a template can do: its environment and filters.

Every `{{ }}` is defused when it is printed, whatever filters and operators did to it. In the
msgtypes that are JSON it is JSON-encoded instead.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import quote as percent_encode
from zoneinfo import ZoneInfo

from jinja2 import (
    BaseLoader,
    ChainableUndefined,
    Template,
    Undefined,
    nodes,
    pass_environment,
    pass_eval_context,
)
from jinja2.filters import do_filesizeformat
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

from bridge.messages.budget import MAX_OUTPUT, LimitedEnvironment, TooCostlyError
from bridge.messages.context import readable
from bridge.messages.markdown import SOFT_BREAK, defuse, restore_line_breaks, size
from bridge.model import as_text, is_web_address
from bridge.msgtypes import MSGTYPES, TEXT_LIMITS

_SHANGHAI = ZoneInfo("Asia/Shanghai")  # of Pgyer's `created` and `updated`, which name no zone
_MAX_CHARS = 20_000  # of one value: no message has room for so much, so the rest is not looked at


class BridgeEnvironment(LimitedEnvironment):
    """A sandboxed Jinja2 environment for templates of one msgtype."""

    def __init__(self, msgtype: str, timezone: tzinfo, loader: BaseLoader) -> None:
        super().__init__(
            loader,
            autoescape=True,  # keeps markup apart from text; how text is escaped is ours
            finalize=_finalize,
            undefined=ChainableUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.msgtype = msgtype
        self.is_json = MSGTYPES[msgtype].is_json
        self.timezone = timezone
        ours: dict[str, Callable[..., Any]] = {
            "filesize": filesize,
            "datetime": _datetime,
            "quote": _quote,
            "color": _color,
            "link": _link,
            "qrcode": qrcode_address,
            "bytes": size,
            "safe": _safe,
            "concat": _concat,
        }
        self.filters.update({name: self.bounded(filter_) for name, filter_ in ours.items()})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _Concats().visit(tree)
        tree.set_environment(self)
        return tree

    def defused(self, value: Any) -> Markup:
        """Return any value as text that is harmless in this msgtype."""
        if isinstance(value, Markup):
            return value
        self.weigh(value)
        if self.is_json:
            return Markup(
                json.dumps("" if value is None else value, ensure_ascii=False, default=str)
            )
        return Markup(defuse(readable(value)[:_MAX_CHARS], self.msgtype))

    def render(self, template: Template, variables: Mapping[str, Any], tail: str = "") -> str:
        """Return a template's text, or as much of it as shows that it is over its limit.

        A `tail` that the text does not hold already is put on a line of its own at its end.
        """
        self.begin_rendering()
        pieces: list[str] = []
        room = 2 * TEXT_LIMITS.get(self.msgtype, MAX_OUTPUT)
        for piece in template.generate(variables):
            pieces.append(piece)
            room -= len(piece)
            if room < 0:
                break
        text = restore_line_breaks("".join(pieces)).strip()
        return text if tail in text else f"{text}\n{tail}"


@pass_eval_context  # also keeps Jinja2 from HTML-escaping constants when it compiles
def _finalize(context: nodes.EvalContext, value: Any) -> Markup:
    """Defuse what a `{{ }}` gives, before Jinja2 HTML-escapes whatever is not Markup."""
    environment = context.environment
    assert isinstance(environment, BridgeEnvironment)
    text = environment.defused(None if isinstance(value, Undefined) else value)
    environment.spend(text)
    return text


class _Concats(NodeTransformer):
    """Let the filter below do what `a ~ b` does, since Jinja2's own would HTML-escape."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(parts, "concat", [], [], None, None, lineno=node.lineno)


@pass_environment
def _concat(env: BridgeEnvironment, parts: list[Any]) -> str:
    known = ["" if isinstance(part, Undefined) else part for part in parts]
    if any(isinstance(part, Markup) for part in known):
        text: str = Markup("".join(env.defused(part) for part in known))
    else:
        text = "".join(map(readable, known))
    if len(text) > MAX_OUTPUT:
        raise TooCostlyError(f"~ would make more than {MAX_OUTPUT} characters")
    return text


def _safe(value: Any) -> Markup:
    """Mark a value as the template author's own markup: it is not defused."""
    return value if isinstance(value, Markup) else Markup(str(readable(value)))


def filesize(value: Any) -> str:
    """Return a number of bytes as Pgyer's own page shows it: 1024-based, "2.1 MB"."""
    text = as_text(value)
    if not re.fullmatch(r"\d{1,18}(\.\d+)?", text):
        return text
    number = float(text)
    return do_filesizeformat(number, binary=True).replace("iB", "B") if number else ""


@pass_environment
def _datetime(env: BridgeEnvironment, value: Any, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return a moment in the bridge's time zone: epoch (s or ms), or Pgyer's Shanghai time."""
    text = as_text(value)
    try:
        if re.fullmatch(r"\d{9,13}(\.\d+)?", text):
            seconds = float(text) / (1000 if float(text) > 1e11 else 1)
            moment = datetime.fromtimestamp(seconds, UTC)
        else:
            moment = datetime.fromisoformat(text)
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=_SHANGHAI)
        return zoned.astimezone(env.timezone).strftime(form)
    except (ValueError, OverflowError, OSError):
        return text


@pass_environment
def _quote(env: BridgeEnvironment, value: Any) -> str:
    """Return text with every line quoted."""
    if env.is_json:
        return _untouched(value)
    lines = env.defused(value).replace(SOFT_BREAK, "\n").split("\n")
    return Markup("\n".join(f"> {line}" for line in lines)) if any(lines) else Markup("")


@pass_environment
def _color(env: BridgeEnvironment, value: Any, color: str) -> str:
    """Return text in one of WeCom's three colours: info, comment, warning."""
    if color not in ("info", "comment", "warning"):
        raise ValueError(f"color is info, comment or warning, not {color!r}")
    if env.is_json:
        return _untouched(value)
    text = env.defused(value)
    if env.msgtype != "markdown" or not text.strip():
        return text
    return Markup(f'<font color="{color}">{text}</font>')


@pass_environment
def _link(env: BridgeEnvironment, value: Any, url: Any) -> str:
    """Return text as a link; only the text where the address is none a browser opens."""
    address = as_text(url)
    if env.is_json:
        return _untouched(value)
    text = env.defused(as_text(value).translate({ord("["): "［", ord("]"): "］", ord("\n"): " "}))
    if not is_web_address(address):
        return text
    address = percent_encode(address, safe="/:?#@!$&'*+,;=%~")
    return Markup(f"{text} {address}" if env.msgtype == "text" else f"[{text}]({address})")


def _untouched(value: Any) -> str:
    """Return what a filter of markup gives in JSON, where there is no markup: the value."""
    return "" if isinstance(value, Undefined) else str(readable(value))


def qrcode_address(value: Any) -> str:
    """Return the address of Pgyer's own QR picture of an app, '' for any other address."""
    found = re.fullmatch(r"(https?://[\w.-]+)/([A-Za-z0-9_-]+)/?", as_text(value))
    return f"{found[1]}/app/qrcode/{found[2]}" if found else ""
