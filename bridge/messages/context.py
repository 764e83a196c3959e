"""What a template sees of an event, and how much of it, so that the message fits."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from bridge.messages.markdown import LIMITS, defuse, fullest, plain, shorten, size
from bridge.model import Event, as_text

# A reader who sees these knows what a message is about: they are shortened last.
_KEPT = {"action", "title", "link", "type", "os_version", "build_version", "device_type"}
_OMITTED = "（其余从略）"
_MAX_LEAVES = 1000  # of a payload: more texts than any message has room for
_SHORT = 24  # bytes down to which long values give way before entries do


class Untrusted(str):
    """Text from outside; wherever it meets markup, it is defused for the msgtype."""

    msgtype: str

    def __new__(cls, text: str, msgtype: str) -> "Untrusted":
        self = super().__new__(cls, text)
        self.msgtype = msgtype
        return self

    def __html__(self) -> Markup:
        return Markup(defuse(self, self.msgtype))


def untrusted(tree: Any, msgtype: str) -> Any:
    """Return decoded values with every text in them marked as from outside."""
    if isinstance(tree, Mapping):
        return {key: untrusted(item, msgtype) for key, item in tree.items()}
    if isinstance(tree, list):
        return [untrusted(item, msgtype) for item in tree]
    return Untrusted(tree, msgtype) if isinstance(tree, str) else tree


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
            "type": self._text(self._event.type, max(kept, _SHORT)),
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
            self._text(key, max(cap, _SHORT)): self._shortened(item, cap, entries)
            for key, item in list(tree.items())[:entries]
        }
        return {**pairs, "…": left} if left else pairs

    def _text(self, text: str, room: int) -> str:
        """Shorten a text; an address is kept whole or left out: half of one leads nowhere."""
        if len(text) > room // 4 and re.match(r"https?://\S+\Z", text[:5000]):
            text = text if size(text) <= room else ""
        if self._msgtype not in LIMITS:
            return shorten(plain(text), room)
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


Render = Callable[[int, int, int], str]


def fitting(render: Render, limit: int) -> tuple[str, bool]:
    """Return the fullest of a template's renderings in `limit` bytes, and if it had to be cut.

    `render` takes the three limits of `View.variables`. Tried in this order, the first that fits:
    the long values shortened; fewer entries of `payload`; what the event is known by shortened.
    Raises ValueError where the template's own text is too long.
    """
    whole = render(limit, limit, limit)
    if size(whole) <= limit:
        return whole, False
    stages: tuple[Callable[[int], str], ...] = (
        lambda room: render(room, limit, limit),
        lambda room: render(_SHORT, room, limit),
        lambda room: render(0, 0, room),
    )
    for stage, low in zip(stages, (_SHORT, 1, 0), strict=True):
        if size(stage(low)) <= limit:
            return fullest(stage, low, limit, limit)[1], True
    raise ValueError(f"is longer than {limit} bytes whatever the event holds")
