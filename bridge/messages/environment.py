"""What a template can do: its environment and filters.

Every `{{ }}` is defused when it is printed. `Markup` is what needs no more of that: the template's
own text, with values that were defused in it. It stays markup in `~`, `+`, `join` and the filters
below; whatever else is done to it gives plain text, which is defused again. In the msgtypes that
are JSON every `{{ }}` is JSON-encoded instead. Jinja2 itself escapes nothing.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from functools import wraps
from typing import Any
from urllib.parse import quote as percent_encode
from zoneinfo import ZoneInfo

from jinja2 import (
    BaseLoader,
    ChainableUndefined,
    Template,
    Undefined,
    nodes,
    pass_context,
    pass_environment,
)
from jinja2.filters import do_filesizeformat, make_attrgetter
from jinja2.runtime import Context
from jinja2.visitor import NodeTransformer

from bridge.messages.budget import MAX_OUTPUT, LimitedEnvironment
from bridge.messages.context import MAX_CHARS, flat, readable
from bridge.messages.findings import NoMessageError
from bridge.messages.markdown import (
    EMPTY,
    FILLED,
    SOFT_BREAK,
    defuse,
    finish,
    kept_lines,
    size,
    stack,
)
from bridge.model import API, FIELDS, as_text, is_web_address, to_json
from bridge.msgtypes import MSGTYPES, TEXT_LIMITS

_SHANGHAI = ZoneInfo("Asia/Shanghai")  # of Pgyer's `created` and `updated`, which name no zone
COLORS = ("info", "comment", "warning")  # WeCom's green, grey and orange-red
_HTML_FILTERS = ("forceescape", "urlize", "xmlattr")  # which WeCom does not show


class Markup(str):
    """A text that is printed as it is; its methods and slices give plain text."""

    __slots__ = ()


class BridgeEnvironment(LimitedEnvironment):
    """A sandboxed Jinja2 environment for templates of one msgtype."""

    def __init__(self, msgtype: str, timezone: tzinfo, loader: BaseLoader) -> None:
        super().__init__(
            loader,
            finalize=_printed,
            undefined=ChainableUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.msgtype = msgtype
        self.is_json = MSGTYPES[msgtype].dialect == "json"
        self.timezone = timezone
        filters = {**self.filters, **_FILTERS, **(_IN_JSON if self.is_json else {})}
        self.filters = {
            name: self._bounded(name, filter_)
            for name, filter_ in filters.items()
            if name not in _HTML_FILTERS
        }

    def _bounded(self, name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
        """Return a filter within the budget."""
        passed = int(hasattr(filter_, "jinja_pass_arg"))

        @wraps(filter_)  # keeps Jinja2's marks of what it passes to a filter
        def bounded(*args: Any, **kwargs: Any) -> Any:
            first, *others = [*args[passed:], *kwargs.values()]
            self.check(first, others)
            made = filter_(*args, **kwargs)
            # With no text to add or to remove, these two only change blanks.
            blanks = name in ("trim", "indent") and not any(isinstance(v, str) for v in others)
            return Markup(made) if blanks and isinstance(first, Markup) else made

        return bounded

    def concat(self, pieces: Iterable[str]) -> Markup:
        """Join what a macro or a block printed."""
        return Markup(super().concat(pieces))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator; markup stays markup in `+` alone."""
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return _concat(self, [left, right])
        return super().call_binop(context, operator, left, right)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _Ours().visit(tree)
        tree.set_environment(self)
        return tree

    def defused(self, value: Any) -> Markup:
        """Return any value as text that is harmless in this msgtype."""
        if isinstance(value, Markup):
            return value
        if self.is_json:
            return Markup(to_json("" if value is None else value, default=str))
        return Markup(defuse(readable(value)[:MAX_CHARS], self.msgtype))

    def render(self, template: Template, variables: Mapping[str, Any], tail: str = "") -> str:
        """Return a template's text, or as much of it as shows that it is over its limit.

        A `tail` that the text does not hold already is put on a line of its own at its end.
        """
        pieces: list[str] = []
        most = room = 2 * TEXT_LIMITS.get(self.msgtype, MAX_OUTPUT)
        for piece in template.generate(variables):
            pieces.append(piece)
            room -= len(piece)
            if room < 0:  # perhaps not any more without the lines that are left out
                *lines, last = "".join(pieces).split("\n")
                pieces = ["\n".join([*kept_lines(lines), last])]
                room = most - len(pieces[0])
            if room < 0:
                break
        text = finish("".join(pieces)).strip()
        return text if tail in text else f"{text}\n{tail}"


@pass_environment
def _printed(env: BridgeEnvironment, value: Any) -> Markup:
    return env.defused(None if isinstance(value, Undefined) else value)


class _Ours(NodeTransformer):
    """Replaces what would print or join texts that were not defused, or run unchecked."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        if node.test:
            node.test = _filtered(node.test, "default")  # the same condition, but in the budget
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "concat")

    def visit_FilterBlock(self, node: nodes.FilterBlock) -> nodes.Node:
        self.generic_visit(node)
        node.filter = _filtered(node.filter, "printed")
        return node

    def visit_ScopedEvalContextModifier(self, node: nodes.EvalContextModifier) -> nodes.Node:
        node.options = []  # no `autoescape`, which is for HTML
        return self.generic_visit(node)


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


@pass_environment
def _tojson(env: BridgeEnvironment, value: Any, indent: int | None = None) -> str:
    text = to_json(None if isinstance(value, Undefined) else value, indent=indent, default=str)
    return Markup(text) if env.is_json else text


@pass_context
def _format(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
    environment = context.environment
    assert isinstance(environment, BridgeEnvironment)
    return environment.call_binop(context, "%", readable(value), kwargs or args)


@pass_environment
def _join(
    env: BridgeEnvironment, value: Any, d: str = "", attribute: str | int | None = None
) -> str:
    items = value if attribute is None else map(make_attrgetter(env, attribute), value)
    parts = [part for item in items for part in (d, item)]
    return _concat(env, parts[1:])


@pass_environment
def _concat(env: BridgeEnvironment, parts: list[Any]) -> str:
    """Join texts as `~` does; if one is markup, the others are defused."""
    known = ["" if isinstance(part, Undefined) else part for part in parts]
    if any(isinstance(part, Markup) for part in known):
        return Markup(env.concat(env.defused(part) for part in known))
    return str(env.concat(map(readable, known)))


def _safe(value: Any) -> Markup:
    """Mark a value as the template author's own markup: it is not defused."""
    return Markup(readable(value))


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
    lines = env.defused(value).replace(SOFT_BREAK, "\n").split("\n")
    return Markup("\n".join(f"> {line}" for line in lines)) if any(lines) else Markup("")


@pass_environment
def _color(env: BridgeEnvironment, value: Any, color: str) -> str:
    """Return text in one of WeCom's three colours: info, comment, warning."""
    if color not in COLORS:
        raise NoMessageError("unknown_color", color=str(color))
    text = env.defused(value)
    if env.msgtype != "markdown" or _is_blank(text):
        return text
    return Markup(f'<font color="{color}">{text}</font>')


@pass_environment
def _optional(env: BridgeEnvironment, value: Any) -> Any:
    """Return a value that, where it is empty, takes its line or its part of a line with it."""
    if env.is_json:
        return value
    text = env.defused(None if isinstance(value, Undefined) else value)
    return Markup(EMPTY if _is_blank(text) else FILLED + text.replace("\n", SOFT_BREAK))


def _is_blank(text: str) -> bool:
    return not text.replace(EMPTY, "").strip()


@pass_environment
def _link(env: BridgeEnvironment, value: Any, url: Any) -> str:
    """Return text as a link; only the text where the address is none a browser opens."""
    address = as_text(url)
    label = as_text(value).translate({ord("["): "［", ord("]"): "］", ord("\n"): " "})
    text = Markup(label) if isinstance(value, Markup) else env.defused(label)
    if not is_web_address(address):
        return text
    address = percent_encode(address, safe="/:?#@!$&'+,;=%~")
    return Markup(f"{text} {address}" if env.msgtype == "text" else f"[{text}]({address})")


def _stack(value: Any, most: int = 12) -> str:
    """Return the exception of a crash log, and the first lines of its stack."""
    return stack(_untouched(value), most)


def _others(payload: Any) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of what came in a payload beside Pgyer's own fields."""
    others = dict(payload) if isinstance(payload, Mapping) else {}
    # These are then no sender's, but the bridge's.
    own = ("source", "build") if others.get("source") == API else ()
    return flat({name: value for name, value in others.items() if name not in (*FIELDS, *own)})


def _untouched(value: Any, *_: Any, **__: Any) -> str:
    """Return a value as text."""
    return "" if isinstance(value, Undefined) else readable(value)


def qrcode_address(value: Any) -> str:
    """Return the address of Pgyer's own QR picture of an app, '' for any other address."""
    found = re.fullmatch(r"(https?://[\w.-]+)/([A-Za-z0-9_-]+)/?", as_text(value))
    return f"{found[1]}/app/qrcode/{found[2]}" if found else ""


_FILTERS: Mapping[str, Callable[..., Any]] = {
    "filesize": filesize,
    "datetime": _datetime,
    "quote": _quote,
    "color": _color,
    "link": _link,
    "optional": _optional,
    "stack": _stack,
    "others": _others,
    "qrcode": qrcode_address,
    "bytes": size,
    "safe": _safe,
    "escape": _printed,
    "e": _printed,
    "tojson": _tojson,
    "format": _format,
    "join": _join,
    "string": _untouched,
    # The next are put in by `_Ours`.
    "concat": _concat,
    "printed": _printed,
}
# In JSON there is no markup, and a value is encoded when it is printed.
_IN_JSON = dict.fromkeys(("quote", "color", "link", "escape", "e"), _untouched)
