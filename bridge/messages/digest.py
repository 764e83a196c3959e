"""Many deliveries → the text of one digest, and the deliveries that it has room for; pure."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bridge.messages.context import notes_of
from bridge.messages.findings import NoMessageError
from bridge.messages.markdown import plain, shorten, size
from bridge.model import Delivery, Event
from bridge.wording import TYPES, speaking, type_name

MAX_LINES = 40  # of a digest: nobody reads more than two or three screens of a phone
_MAX_GROUPS = 500  # of one message, which has room for some dozens
_MAX_VALUE = 120  # bytes of a group's title, name or version
_FIELDS = ("title", "device_type", "os_version", "build_version", "link")


class Detail(NamedTuple):
    """How much a digest shows of each group: so many texts, each in so many bytes."""

    texts: int
    text_size: int


COUNTED = Detail(0, 0)  # no text: groups are only counted
_DETAILS = (Detail(3, 300), Detail(3, 160), Detail(3, 90), Detail(1, 90), COUNTED)


@dataclass
class Group:
    """The deliveries of one app, platform and type; `fields` are those of the newest."""

    type: str
    name: str
    fields: dict[str, str] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    texts: dict[tuple[str, str], int] = field(default_factory=dict)  # (version, notes) → how many

    def add(self, delivery: Delivery, fields: dict[str, str]) -> None:
        """Add a delivery that is newer than all that are there."""
        text = (_version(fields), " ".join(plain(notes_of(delivery.event)).split()))
        self.texts[text] = self.texts.pop(text, 0) + 1  # the newest comes last
        self.fields = {**fields, "link": fields["link"] or self.fields.get("link", "")}
        self.deliveries.append(delivery)

    def variables(self, detail: Detail) -> dict[str, Any]:
        """Return what a template sees of it; `hidden` deliveries have a text that is not shown."""
        versions = {version for version, _ in self.texts}
        texts = [
            (version if len(versions) > 1 else "", notes, count)
            for (version, notes), count in reversed(self.texts.items())
            if notes or len(versions) > 1
        ]
        newest = [
            {
                "version": shorten(version, _MAX_VALUE),
                "notes": shorten(notes, detail.text_size),
                "times": _times(count),
            }
            for version, notes, count in texts[: detail.texts]
        ]
        values = {
            **self.fields,
            "type": self.type,
            "name": self.name,
            "version": _version(self.fields),
        }
        return {
            **{name: shorten(text, _MAX_VALUE) for name, text in values.items()},
            "link": self.fields["link"] if size(self.fields["link"]) <= _MAX_VALUE else "",
            "versions": len(versions),
            "count": len(self.deliveries),
            "times": _times(len(self.deliveries)),
            "newest": newest,
            "notes": list(dict.fromkeys(text["notes"] for text in newest if text["notes"])),
            "hidden": sum(count for *_, count in texts[detail.texts :]),
        }


def group_deliveries(deliveries: Sequence[Delivery]) -> list[Group]:
    """Group deliveries, which are in order, by app, platform and type; an app's are together."""
    apps: dict[tuple[str, str], dict[tuple[bool, str], Group]] = {}
    for delivery in deliveries:
        event = delivery.event
        fields = {name: plain(event.fields[name]) for name in _FIELDS}
        groups = apps.setdefault((fields["title"], fields["device_type"]), {})
        key = event.type in TYPES, _name(event)
        groups.setdefault(key, Group(event.type, key[1])).add(delivery, fields)
    return [group for groups in apps.values() for group in groups.values()]


Render = Callable[[Sequence[Group], Detail], str]


def fit_groups(groups: Sequence[Group], render: Render, limit: int) -> tuple[str, Sequence[Group]]:
    """Return the text of as many groups as one message has room for, and these groups.

    If all groups fit, they are shown in as much detail as possible; if not, they are only counted,
    so that as few messages as possible are needed. Raises NoMessageError where not even one group
    fits in `limit` bytes.
    """

    def is_too_long(count: int, detail: Detail = COUNTED) -> bool:
        text = render(groups[:count], detail)
        return size(text) > limit or text.count("\n") >= MAX_LINES

    most = min(len(groups), _MAX_GROUPS)
    count = bisect_left(range(most + 1), 1, lo=2, key=is_too_long) - 1
    details = _DETAILS if count == len(groups) else (COUNTED,)
    detail = next((d for d in details if not is_too_long(count, d)), COUNTED)
    text = render(groups[:count], detail)
    if size(text) > limit:
        raise NoMessageError("digest_too_long", limit=limit)
    return text, groups[:count]


def _name(event: Event) -> str:
    """Return what an event of this type is called; of a type that nobody knows, its action."""
    if event.type in TYPES:
        with speaking("zh"):
            return type_name(event.type)
    return plain(event.fields["action"] or event.type or "通知")


def _version(fields: dict[str, str]) -> str:
    """Return an app's version and build: `2.4 (139)`."""
    version, build = fields["os_version"], fields["build_version"]
    return f"{version} ({build})" if version and build else version or (build and f"构建 {build}")


def _times(count: int) -> str:
    return f"×{count}" if count > 1 else ""
