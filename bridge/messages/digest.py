"""Many deliveries → the text of one digest, and the deliveries that it has room for; pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.messages.context import notes_of
from bridge.messages.findings import NoMessageError
from bridge.messages.markdown import largest_that_fits, shorten, size
from bridge.model import Delivery

_NOTES_SIZES = (400, 160, 60)  # bytes of each group's notes: the first that lets all groups fit
_MAX_NOTES = 3  # of one group
_MAX_VALUE = 120  # bytes of a group's title or version
_FIELDS = ("title", "device_type", "os_version", "build_version", "link")


@dataclass
class Group:
    """The deliveries of one app, platform, version and type."""

    type: str
    fields: dict[str, str]
    deliveries: list[Delivery] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # a few different ones, the newest first

    def variables(self, notes_size: int) -> dict[str, Any]:
        """Return what a template sees of it, its notes in at most `notes_size` bytes together."""
        notes = self.notes if notes_size else []
        return {
            **{name: shorten(text, _MAX_VALUE) for name, text in self.fields.items()},
            "link": self.fields["link"] if size(self.fields["link"]) <= _MAX_VALUE else "",
            "type": shorten(self.type, _MAX_VALUE),
            "count": len(self.deliveries),
            "notes": [shorten(" ".join(text.split()), notes_size // len(notes)) for text in notes],
        }


def group_deliveries(deliveries: Sequence[Delivery]) -> list[Group]:
    """Group deliveries, which are in order, by app, platform, version and type."""
    groups: dict[tuple[str, ...], Group] = {}
    for delivery in deliveries:
        fields = {name: delivery.event.fields[name] for name in _FIELDS}
        key = (delivery.event.type, *list(fields.values())[:-1])
        group = groups.setdefault(key, Group(delivery.event.type, fields))
        group.deliveries.append(delivery)
        notes = notes_of(delivery.event)
        if notes:
            others = [text for text in group.notes if text != notes]
            group.notes = [notes, *others][:_MAX_NOTES]
    return list(groups.values())


Render = Callable[[Sequence[Group], int], str]


def fit_groups(groups: Sequence[Group], render: Render, limit: int) -> tuple[str, Sequence[Group]]:
    """Return the text of as many groups as one message has room for, and these groups.

    `render` takes groups and the bytes for each one's notes. If all groups fit, their notes are as
    long as possible; if not, they have none, so that as few messages as possible are needed.
    Raises NoMessageError where not even one group fits.
    """
    text = render(groups[:1], 0)
    if size(text) > limit:
        raise NoMessageError("digest_too_long", limit=limit)
    # Upwards from one: thousands of groups may be due, of which a message has room for a hundred.
    count = 1
    while count < len(groups):
        more = min(2 * count, len(groups))
        text = render(groups[:more], 0)
        if size(text) > limit:
            count, text = largest_that_fits(lambda n: render(groups[:n], 0), count, more, limit)
            return text, groups[:count]
        count = more
    for notes_size in _NOTES_SIZES:
        longer = render(groups, notes_size)
        if size(longer) <= limit:
            return longer, groups
    return text, groups
