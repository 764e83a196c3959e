"""What a template sees of an event, and how much of it, so that the message fits; pure."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from bridge.messages.findings import NoMessageError
from bridge.messages.markdown import join_up_to, plain, shorten, size
from bridge.model import Event, as_text

# A reader who sees these knows what a message is about: they are shortened last.
_KEY_FIELDS = {"action", "title", "link", "type", "os_version", "build_version", "device_type"}
_OMITTED = "（其余从略）"
_MAX_TEXTS = 1000  # of a payload: more than any message has room for
MAX_CHARS = 20_000  # of one value that is printed: no message has room for so much
_SHORT = 24  # bytes to which long values are cut before entries are left out


def notes_of(event: Event) -> str:
    r"""Return an event's notes; where they are on one line, a typed `\n` is a line break.

    Pgyer's support tells users to type it. In a crash log and in a path it stays as it is.
    """
    text = event.fields["notes"]
    if event.type == "crashlog" or "\n" in text or re.search(r"\b[A-Za-z]:\\", text):
        return text
    broken = re.sub(r"(?:\\r)?\\n", "\n", text).strip()
    return text if "\\" in broken else broken


class WantedBuild(dict[str, Any]):
    """What is not known of a build yet; it notes whether a template asks for any of it."""

    is_wanted = False

    def __missing__(self, key: str) -> Any:
        self.is_wanted = True
        raise KeyError(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.is_wanted = True
        return default

    def __len__(self) -> int:  # of `if build`
        self.is_wanted = True
        return 0


class Context:
    """The variables of a template for one event, with long values cut to given sizes."""

    def __init__(self, event: Event) -> None:
        self._event = event
        nested = {
            name: "\n".join("：".join(filter(None, pair)) for pair in flat(value))
            for name, value in event.payload.items()
            if name in event.fields and isinstance(value, Mapping | list)
        }
        fields = {**event.fields, "notes": notes_of(event), **nested}
        self._fields = {name: plain(text) for name, text in fields.items()}
        self._texts_left = _MAX_TEXTS
        self._keys = [name for name, text in self._fields.items() if name in _KEY_FIELDS and text]
        others = {name: value for name, value in event.payload.items() if name not in self._keys}
        if "notes" in others:
            others["notes"] = self._fields["notes"]
        self._payload = self._bounded(others)
        build = event.payload.get("build")
        build = build if isinstance(build, Mapping) else event.build
        self._build = build if isinstance(build, WantedBuild) else self._bounded(build)

    def variables(self, value_size: int, entries: int, key_size: int) -> dict[str, Any]:
        """Return the variables, with every text in at most `value_size` bytes.

        The fields that an event is known by may take `key_size` bytes; every list or object in
        `payload` has at most `entries` entries.
        """
        fields = {
            name: self._cut(text, key_size if name in _KEY_FIELDS else value_size)
            for name, text in self._fields.items()
        }
        # Whatever it is, an event without it would be known by nothing.
        fields["title"] = shorten(self._fields["title"], key_size)
        event = {
            "id": self._event.id,
            "type": self._cut(plain(self._event.type), max(key_size, _SHORT)),
            "received_at": self._event.received_at,
        }
        keys = {name: fields[name] for name in self._keys if fields[name]}
        payload = {**keys, **self._cut_tree(self._payload, value_size, entries)}
        if self._texts_left <= 0:
            payload["…"] = _OMITTED
        build = self._build
        if not isinstance(build, WantedBuild):
            build = {name: self._cut_tree(v, value_size, entries) for name, v in build.items()}
        return {**fields, "payload": payload, "event": event, "build": build}

    def _bounded(self, value: Any) -> Any:
        """Return a payload's texts without empty ones, as many as a message could ever show."""
        if isinstance(value, Mapping):
            pairs = ((key, self._bounded(v)) for key, v in value.items() if self._texts_left > 0)
            return {key: item for key, item in pairs if item}
        if isinstance(value, list):
            items = (self._bounded(item) for item in value if self._texts_left > 0)
            return [item for item in items if item]
        self._texts_left -= 1
        return plain(as_text(value))

    def _cut_tree(self, tree: Any, value_size: int, entries: int) -> Any:
        if isinstance(tree, str):
            return self._cut(tree, value_size)
        too_many = len(tree) > entries
        if isinstance(tree, list):
            shown = [self._cut_tree(item, value_size, entries) for item in tree[:entries]]
            return [*shown, _OMITTED] if too_many else shown
        pairs = {
            self._cut(plain(key), max(value_size, _SHORT)): self._cut_tree(
                item, value_size, entries
            )
            for key, item in list(tree.items())[:entries]
        }
        return {**pairs, "…": _OMITTED} if too_many else pairs

    def _cut(self, text: str, room: int) -> str:
        """Shorten a text; an address is kept whole or left out: half of one leads nowhere."""
        if len(text) > room // 4 and re.match(r"https?://\S+\Z", text[:5000]):
            text = text if size(text) <= room else ""
        return shorten(text, room)


def flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts of a nested value, each with its name as a template writes it: `a.0.b`."""
    entries: Iterable[tuple[Any, Any]]
    if isinstance(value, Mapping):
        entries = value.items()
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        entries = enumerate(value)
    else:
        yield name, "、".join(map(as_text, value)) if isinstance(value, list) else as_text(value)
        return
    for key, item in entries:
        yield from flat(item, f"{name}.{key}" if name else str(key))


def readable(value: Any) -> str:
    """Return a value as one line for a reader: `a: 1, b: (x, y)`, up to some MAX_CHARS."""
    return value if isinstance(value, str) else join_up_to(_pieces(value), MAX_CHARS)


def _pieces(value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping | list | tuple):
        yield value if isinstance(value, str) else as_text(value)
        return
    entries = value.items() if isinstance(value, Mapping) else ((None, item) for item in value)
    for number, (key, item) in enumerate(entries):
        nested = isinstance(item, Mapping | list | tuple)
        yield (", " if number else "") + (f"{key}: " if key is not None else "")
        yield "(" if nested else ""
        yield from _pieces(item)
        yield ")" if nested else ""


def fit(render: Callable[[int, int, int], str], limit: int) -> tuple[str, bool]:
    """Return a template's longest rendering in `limit` bytes, and whether values were cut.

    `render` takes the three sizes of `Context.variables`. The first of these that fits is used:
    everything whole; long values cut; fewer entries of `payload`; what the event is known by cut.
    Raises NoMessageError where the template's own text is too long.
    """
    whole = render(limit, limit, limit)
    if size(whole) <= limit:
        return whole, False
    stages: tuple[tuple[Callable[[int], str], int], ...] = (
        (lambda room: render(room, limit, limit), _SHORT),
        (lambda room: render(_SHORT, room, limit), 1),
        (lambda room: render(0, 0, room), 0),
    )
    for stage, least in stages:
        if size(stage(least)) <= limit:
            rooms = range(least, limit)
            fitting = bisect_right(rooms, limit, lo=1, key=lambda room: size(stage(room)))
            return stage(rooms[fitting - 1]), True
    raise NoMessageError("too_long", limit=limit)
