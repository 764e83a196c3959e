"""What a template can see and do: its environment, values and filters.

Values from Pgyer reach a template as strings that know how to defuse themselves, and the
environment defuses what is left of them after filters and operators; so no `{{ }}` gets by.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import quote as percent_encode
from urllib.parse import urlsplit
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
from jinja2.exceptions import SecurityError
from jinja2.filters import do_filesizeformat
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

from bridge.markdown import defuse, shorten, size
from bridge.model import Event, as_text

_SHANGHAI = ZoneInfo("Asia/Shanghai")  # of Pgyer's `created` and `updated`, which name no zone
# A reader who sees these knows what a message is about: they are shortened last.
_KEPT = {"action", "title", "link", "type", "os_version", "build_version", "device_type"}
_OMITTED = "（其余从略）"
_MAX_LEAVES = 1000  # of a payload: more texts than any message has room for


class Untrusted(str):
    """Text from outside; wherever it meets markup, it is defused for the msgtype."""

    msgtype: str

    def __new__(cls, text: str, msgtype: str) -> "Untrusted":
        self = super().__new__(cls, text)
        self.msgtype = msgtype
        return self

    def __html__(self) -> Markup:
        return Markup(defuse(self, self.msgtype))


class BridgeEnvironment(ImmutableSandboxedEnvironment):
    """A sandboxed Jinja2 environment for templates of one msgtype."""

    def __init__(self, msgtype: str, timezone: tzinfo, loader: BaseLoader) -> None:
        super().__init__(
            loader=loader,
            autoescape=True,  # keeps markup apart from text; how text is escaped is ours
            finalize=_finalize,
            undefined=ChainableUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.msgtype = msgtype
        self.timezone = timezone
        self.filters.update(
            filesize=filesize,
            datetime=_datetime,
            quote=_quote,
            color=_color,
            link=_link,
            bytes=size,
            safe=_safe,
            concat=_concat,
        )

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _Concats().visit(tree)
        tree.set_environment(self)
        return tree

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuse loudly what leads out of the sandbox; Jinja2 would only show nothing."""
        raise SecurityError(f"{attribute!r} is out of a template's reach")

    def defused(self, value: Any) -> Markup:
        """Return any value as text that is harmless in this msgtype."""
        if isinstance(value, Markup):
            return value
        return Markup(defuse(readable(value)[:_MAX_CHARS], self.msgtype))


@pass_eval_context  # also keeps Jinja2 from HTML-escaping constants when it compiles
def _finalize(context: nodes.EvalContext, value: Any) -> Markup:
    """Defuse what a `{{ }}` gives, before Jinja2 HTML-escapes whatever is not Markup."""
    environment = context.environment
    assert isinstance(environment, BridgeEnvironment)
    return Markup("") if isinstance(value, Undefined) else environment.defused(value)


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
        return Markup("".join(env.defused(part) for part in known))
    return "".join(map(readable, known))


def _safe(value: Any) -> Markup:
    """Mark a value as the template author's own markup: it is not defused."""
    return value if isinstance(value, Markup) else Markup(str(readable(value)))


class View:
    """What a template sees of an event, with the long values shortened as far as it is told."""

    def __init__(self, event: Event, msgtype: str) -> None:
        self._event = event
        self._msgtype = msgtype
        self._leaves = _MAX_LEAVES
        kept = {name: text for name, text in event.fields.items() if name in _KEPT and text}
        rest = {name: value for name, value in event.payload.items() if name not in kept}
        self._kept, self._payload = kept, self._tree(rest)

    def variables(self, cap: int, entries: int, kept: int) -> dict[str, Any]:
        """Return the variables, every text in at most `cap` bytes.

        Those that an event is known by may take `kept` bytes; every list or object in `payload`
        has at most `entries` entries.
        """
        fields = {
            name: self._text(text, kept if name in _KEPT else cap)
            for name, text in self._event.fields.items()
        }
        first = {name: fields[name] for name in self._kept if fields[name]}
        event = {
            "id": self._event.id,
            "type": self._text(self._event.type, max(kept, 24)),
            "received_at": self._event.received_at,
        }
        payload = {**first, **self._shortened(self._payload, cap, entries)}
        if self._leaves <= 0:
            payload["…"] = _OMITTED
        return {**fields, "payload": payload, "event": event}

    def _tree(self, value: Any) -> Any:
        """Return a payload's texts without what is empty, as many as a message could ever show."""
        if isinstance(value, Mapping):
            pairs = ((key, self._tree(item)) for key, item in value.items() if self._leaves > 0)
            return {key: item for key, item in pairs if item}
        if isinstance(value, list):
            return [item for item in (self._tree(i) for i in value if self._leaves > 0) if item]
        self._leaves -= 1
        return as_text(value)

    def _shortened(self, tree: Any, cap: int, entries: int) -> Any:
        if isinstance(tree, str):
            return self._text(tree, cap)
        left = _OMITTED if len(tree) > entries else ""
        if isinstance(tree, list):
            shown = [self._shortened(item, cap, entries) for item in tree[:entries]]
            return [*shown, left] if left else shown
        pairs = {
            self._text(key, max(cap, 24)): self._shortened(item, cap, entries)
            for key, item in list(tree.items())[:entries]
        }
        return {**pairs, "…": left} if left else pairs

    def _text(self, text: str, room: int) -> Untrusted:
        """Shorten a text; an address is kept whole or left out: half of one leads nowhere."""
        if len(text) > room // 4 and re.match(r"https?://\S+\Z", text[:5000]):
            return Untrusted(text if size(text) <= room else "", self._msgtype)
        return Untrusted(shorten(text, room), self._msgtype)


def readable(value: Any) -> str:
    """Return a decoded value as one line for a reader: `a: 1, b: (x, y)`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_nested(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_nested(item) for item in value)
    return value if isinstance(value, str) else as_text(value)


def _nested(value: Any) -> str:
    text = readable(value)
    return f"({text})" if isinstance(value, Mapping | list | tuple) else text


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
def _quote(env: BridgeEnvironment, value: Any) -> Markup:
    """Return text with every line quoted."""
    lines = env.defused(value).split("\n")
    return Markup("\n".join(f"> {line}" for line in lines)) if any(lines) else Markup("")


@pass_environment
def _color(env: BridgeEnvironment, value: Any, color: str) -> Markup:
    """Return text in one of WeCom's three colours: info, comment, warning."""
    if color not in ("info", "comment", "warning"):
        raise ValueError(f"color is info, comment or warning, not {color!r}")
    text = env.defused(value)
    if env.msgtype != "markdown" or not text.strip():
        return text
    return Markup(f'<font color="{color}">{text}</font>')


@pass_environment
def _link(env: BridgeEnvironment, value: Any, url: Any) -> Markup:
    """Return text as a link; only the text where the address is none a browser opens."""
    address = as_text(url)
    text = env.defused(as_text(value).translate({ord("["): "［", ord("]"): "］", ord("\n"): " "}))
    if not is_web_address(address):
        return text
    address = percent_encode(address, safe="/:?#@!$&'*+,;=%~")
    return Markup(f"{text} {address}" if env.msgtype == "text" else f"[{text}]({address})")


def is_web_address(text: str) -> bool:
    """Tell whether a text is an http or https address."""
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and not re.search(r"\s", text)
        )
    except ValueError:
        return False


Render = Callable[[int, int, int], str]
_MAX_CHARS = 20_000  # of one value: no message has room for so much, so the rest is not looked at
_SHORT = 24  # bytes down to which long values give way before entries do


def render(template: Template, variables: Mapping[str, Any], limit: int) -> str:
    """Return a template's text, or as much of it as shows that it is over `limit` bytes."""
    pieces: list[str] = []
    room = 2 * limit
    for piece in template.generate(variables):
        pieces.append(piece)
        room -= len(piece)
        if room < 0:
            break
    return "".join(pieces).strip()


def fitting(render: Render, limit: int) -> str:
    """Return the fullest of a template's renderings that has at most `limit` bytes.

    `render` takes the three limits of `View.variables`. Tried in this order, the first that fits:
    the long values shortened; fewer entries of `payload`; what the event is known by shortened.
    Raises ValueError where the template's own text is too long.
    """
    whole = render(limit, limit, limit)
    if size(whole) <= limit:
        return whole
    stages: tuple[Callable[[int], str], ...] = (
        lambda room: render(room, limit, limit),
        lambda room: render(_SHORT, room, limit),
        lambda room: render(0, 0, room),
    )
    for stage, low in zip(stages, (_SHORT, 1, 0), strict=True):
        best = stage(low)
        if size(best) > limit:
            continue
        high = limit
        while low < high - 1:
            middle = (low + high) // 2
            text = stage(middle)
            low, high = (middle, high) if size(text) <= limit else (low, middle)
            best = text if low == middle else best
        return best
    raise ValueError(f"is longer than {limit} bytes whatever the event holds")
