"""Many deliveries → one message that tells them together, and those that it has room for; pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.messages.markdown import fullest, shorten, size
from bridge.model import Delivery

_NOTES = (400, 160, 60)  # bytes of each group's notes, the first that lets all groups fit
_MAX_NOTES = 3  # of one group
_MAX_NAME = 120  # bytes of a group's title or version
_NAMES = ("title", "device_type", "os_version", "build_version", "link")


@dataclass
class Group:
    """The deliveries of one app, platform, version and type."""

    type: str
    fields: dict[str, str]
    deliveries: list[Delivery] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # a few different ones, the newest first

    def shown(self, room: int) -> dict[str, Any]:
        """Return what a template sees of it, its notes in at most `room` bytes together."""
        notes = self.notes if room else []
        return {
            **{name: shorten(text, _MAX_NAME) for name, text in self.fields.items()},
            "link": self.fields["link"] if size(self.fields["link"]) <= _MAX_NAME else "",
            "type": shorten(self.type, _MAX_NAME),
            "count": len(self.deliveries),
            "notes": [shorten(" ".join(text.split()), room // len(notes)) for text in notes],
        }


def groups(deliveries: Sequence[Delivery]) -> list[Group]:
    """Group deliveries, which are in order, by app, platform, version and type."""
    found: dict[tuple[str, ...], Group] = {}
    for delivery in deliveries:
        fields = {name: delivery.event.fields[name] for name in _NAMES}
        key = (delivery.event.type, *list(fields.values())[:-1])
        group = found.setdefault(key, Group(delivery.event.type, fields))
        group.deliveries.append(delivery)
        notes = delivery.event.fields["notes"]
        if notes:
            others = [text for text in group.notes if text != notes]
            group.notes = [notes, *others][:_MAX_NOTES]
    return list(found.values())


Render = Callable[[Sequence[Group], int], str]


def packed(found: Sequence[Group], render: Render, limit: int) -> tuple[str, Sequence[Group]]:
    """Return the text of as many groups as one message has room for, and these groups.

    `render` takes groups and the room for each one's notes in bytes. If all fit, then with as
    long notes as possible; if not, then without, so that as few messages as possible are needed.
    Raises ValueError where not even one group fits.
    """
    text = render(found[:1], 0)
    if size(text) > limit:
        raise ValueError(f"is longer than {limit} bytes with a single group in it")
    # Upwards from one: thousands of groups may wait, of which a message holds a hundred.
    count = 1
    while count < len(found):
        more = min(2 * count, len(found))
        text = render(found[:more], 0)
        if size(text) > limit:
            count, text = fullest(lambda n: render(found[:n], 0), count, more, limit)
            return text, found[:count]
        count = more
    for room in _NOTES:
        longer = render(found, room)
        if size(longer) <= limit:
            return longer, found
    return text, found
