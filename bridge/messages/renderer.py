"""Deliveries → Messages, by the templates of a folder; whatever a template does, the event is told.

The generic templates below are for where a template fails and has no good version left.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from functools import partial
from pathlib import Path
from typing import TypeVar

from jinja2 import DictLoader, Template
from markupsafe import Markup

from bridge.messages import attachments
from bridge.messages import cards as bodies
from bridge.messages.budget import MAX_OUTPUT
from bridge.messages.context import View, fitting, untrusted
from bridge.messages.digest import Group, groups, packed
from bridge.messages.environment import BridgeEnvironment
from bridge.messages.markdown import CUT, LIMITS
from bridge.messages.mentions import calls, inline, mentioned_lists
from bridge.messages.template_files import Folder, msgtype_of
from bridge.model import Delivery, Event, Message, Target

T = TypeVar("T")

_GENERIC = """\
{{ (action or event.type or '通知')|color('comment') }} **{{ title }}**
{% for name, value in payload.items() if name not in ('action', 'title') %}
{{ name }}：{{ value }}
{% endfor %}"""
_GENERIC_DIGEST = """\
**共 {{ total }} 条**
{% for group in groups %}
{{ group.title }} {{ group.os_version }} {{ group.type }} ×{{ group.count }}
{% endfor %}"""
_JSON_VALUE = 1024  # bytes of one value in a card, for which WeCom names no limit

# Rendered once when a file is read, so that a template's mistakes show before an event does.
_TRIALS: tuple[dict[str, object], ...] = (
    {
        "action": "应用更新",
        "title": "OooPlay",
        "link": "https://www.pgyer.com/oooplay",
        "os_version": "2.4",
        "build_version": "139",
        "created": "2015-10-09 11:25:16",
        "timestamp": 1444361118,
        "appsize": "2238036",
        "device_type": "iOS",
        "notes": "修复\n崩溃",
    },
    {"link": "https://www.pgyer.com/oooplay", "title": "OooPlay"},
)


class Renderer:
    """Renders events by the templates in a folder; safe to use from many threads."""

    def __init__(self, path: Path, timezone: tzinfo, public_url: str = "") -> None:
        self._timezone = timezone
        self._console = f"{public_url}/console/events" if public_url else ""
        plain = BridgeEnvironment("markdown", timezone, DictLoader({}))
        self._generic = plain.from_string(_GENERIC)
        self._generic_digest = plain.from_string(_GENERIC_DIGEST)
        self._folder = Folder(path, timezone, self._trial)

    @property
    def problems(self) -> list[str]:
        """Return what is wrong with the templates, a line each, with file and line."""
        return self._folder.problems

    def knows(self, name: str) -> bool:
        """Tell whether there is a file for a template's name, sound or not."""
        return self._folder.has(name)

    def messages(self, event: Event, target: Target) -> list[Message]:
        """Return the messages that tell this event to this bot, in the order of sending.

        The first is by the target's template, the event's type or `default`; mentions that it
        cannot carry and the target's attachments follow. Never raises.
        """
        return self.preview(event, target)[0]

    def preview(self, event: Event, target: Target) -> tuple[list[Message], bool]:
        """Return the same messages, and whether the first of them had to be cut."""
        names = _names(event, target.template)
        main, was_cut = self._first_sound(names, self._generic, partial(_main, event, target))
        follow = calls(main.msgtype, target.mention, event.fields["title"])
        if "qrcode" in target.attach:
            follow += attachments.qrcode(event)
        if "log" in target.attach and was_cut:
            follow += attachments.log_file(event)
        return [main, *follow], was_cut

    @property
    def files(self) -> Mapping[str, str]:
        """Return the text of every file in the folder by its name."""
        return self._folder.sources

    @property
    def wrong(self) -> Mapping[str, str]:
        """Return what is wrong with a file by its name, with file and line."""
        return self._folder.wrong

    def file_for(self, event: Event, template: str = "") -> str:
        """Return the file that tells an event, by a route's template where it names one."""
        return self._folder.file_for(_names(event, template))

    def draft(self, source: str, file: str, event: Event, target: Target) -> tuple[Message, bool]:
        """Return the message that a file would make of an event if this were its text.

        Also tells whether values had to be cut. A helper such as `_macros.j2` is shown through
        the file that tells the event. Raises whatever the template raises.
        """
        shown = file if msgtype_of(file) else self.file_for(event)
        loader = DictLoader({**self._folder.sources, file: source})
        environment = BridgeEnvironment(msgtype_of(shown) or "markdown", self._timezone, loader)
        with environment.limited():  # Jinja2 works out constants while it compiles
            template = environment.get_template(shown)
        if shown.startswith("digest."):
            message, _ = _digest([Delivery(1, event, target)], self._console, template)
            return message, False
        return _main(event, target, template)

    def digest(self, deliveries: Sequence[Delivery]) -> tuple[Message, list[Delivery]]:
        """Return one message for as many deliveries as it has room for, and these deliveries."""
        return self._first_sound(
            ["digest"], self._generic_digest, partial(_digest, deliveries, self._console)
        )

    def _first_sound(
        self, names: Iterable[str], generic: Template, make: Callable[[Template], T]
    ) -> T:
        for template in self._folder.find(names):
            try:
                return make(template)
            except Exception as error:  # anything may come out of a user's template
                self._folder.failed(template, error)
        return make(generic)

    def _trial(self, stem: str, template: Template) -> None:
        events = [Event(stem, payload, 0.0) for payload in _TRIALS]
        target = Target("default")
        if stem == "digest":
            _digest([Delivery(n, event, target) for n, event in enumerate(events)], "", template)
        else:
            for event in events:
                _main(event, target, template)


def _names(event: Event, template: str) -> list[str]:
    """Return the names that lead to an event's template; its payload cannot ask for a digest."""
    own = [name for name in (event.fields["type"], event.type) if name != "digest"]
    return [template, *own, "default"]


def _main(event: Event, target: Target, template: Template) -> tuple[Message, bool]:
    """Return the message that a template makes of an event, and whether it had to be cut."""
    environment = _environment(template)
    msgtype, view = environment.msgtype, View(event, environment.msgtype)
    mention = inline(msgtype, target.mention)

    def render(cap: int, entries: int, kept: int) -> str:
        shown = mention if environment.is_json else Markup(mention)
        variables = {**view.variables(cap, entries, kept), "mention": shown}
        return environment.render(template, variables, mention)

    with environment.limited():
        if environment.is_json:
            # The texts of an article have limits of their own, by which they are cut once.
            room = MAX_OUTPUT // 64 if msgtype == "news" else _JSON_VALUE
            body = bodies.parsed(msgtype, render(room, room, room))
            return Message(msgtype, body), CUT in str(body)
        text, was_cut = fitting(render, LIMITS[msgtype])
    lists = mentioned_lists(target.mention) if msgtype == "text" else {}
    return Message(msgtype, {"content": text, **lists}), was_cut


def _digest(
    deliveries: Sequence[Delivery], console: str, template: Template
) -> tuple[Message, list[Delivery]]:
    environment = _environment(template)
    msgtype = environment.msgtype
    if environment.is_json:
        raise ValueError(f"a digest is one of {', '.join(LIMITS)}, not {msgtype}")
    mention = inline(msgtype, [name for d in deliveries for name in d.target.mention])

    def render(found: Sequence[Group], room: int) -> str:
        variables = {
            "total": sum(len(group.deliveries) for group in found),
            "groups": untrusted([group.shown(room) for group in found], msgtype),
            "console": console,
            "mention": Markup(mention),
        }
        return environment.render(template, variables, mention)

    with environment.limited():
        text, told = packed(groups(deliveries), render, LIMITS[msgtype])
    names = [name for delivery in deliveries for name in delivery.target.mention]
    lists = mentioned_lists(names) if msgtype == "text" else {}
    return Message(msgtype, {"content": text, **lists}), [d for g in told for d in g.deliveries]


def _environment(template: Template) -> BridgeEnvironment:
    assert isinstance(template.environment, BridgeEnvironment)
    return template.environment
