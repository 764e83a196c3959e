"""Deliveries → Messages, by the templates of a folder; whatever a template does, a message results.

The generic templates below are used where a template fails and has no good version left.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import tzinfo
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import DictLoader, Template, meta, nodes

from bridge.messages import attachments, child
from bridge.messages.budget import MAX_OUTPUT, TooCostlyError
from bridge.messages.cards import parse_body
from bridge.messages.child import ChildError
from bridge.messages.context import Context, fit
from bridge.messages.digest import Detail, Group, fit_groups, group_deliveries
from bridge.messages.environment import BridgeEnvironment, Markup
from bridge.messages.file_names import find_file, msgtype_of
from bridge.messages.findings import Finding, NoMessageError, finding_of
from bridge.messages.lint import OWN_EVENTS
from bridge.messages.mentions import follow_up, inline_mentions, mention_lists
from bridge.messages.template_files import Saved, TemplateFiles
from bridge.model import Delivery, Event, Message, Target
from bridge.msgtypes import MSGTYPES, TEXT_LIMITS
from bridge.wording import CUT

log = logging.getLogger(__name__)

_GENERIC = """\
{{ (action or event.type or '通知')|color('comment') }} **{{ title }}**
{% for name, value in payload.items() if name not in ('action', 'title') %}
{{ name }}：{{ value }}
{% endfor %}"""
_GENERIC_DIGEST = """\
**共 {{ total }} 条**
{% for group in groups %}
{{ group.title }} {{ group.version }} {{ group.name }} {{ group.times }}
{% endfor %}"""
_JSON_VALUE = 1024  # bytes of one value in a card, for which WeCom names no limit
_NEWS_VALUE = MAX_OUTPUT // 64  # bytes; the texts of an article are cut when it is parsed

# Rendered once when a file is read, so that a template's mistakes show before an event does.
_TRIAL_PAYLOADS: tuple[dict[str, object], ...] = (
    {
        "action": "应用更新", "title": "OooPlay", "link": "https://www.pgyer.com/oooplay",
        "message": "您的应用OooPlay有了新的版本(2.4)更新。", "type": "updateVersion",
        "os_version": "2.4", "build_version": "139", "created": "2015-10-09 11:25:16",
        "updated": "2015-10-09 11:25:16", "timestamp": 1444361118, "appsize": "2238036",
        "device_type": "iOS", "appQRCodeURL": "https://www.pgyer.com/app/qrcode/oooplay",
        "notes": "修复\n崩溃",
    },
    {"link": "https://www.pgyer.com/oooplay", "title": "OooPlay"},
)  # fmt: skip


class BlankError(NoMessageError):
    """A template made a message in which there is nothing to see."""


class Renderer(TemplateFiles):
    """Renders events by the templates in a folder and the saved ones; safe for many threads."""

    def __init__(
        self,
        path: Path,
        timezone: tzinfo,
        public_url: str = "",
        saved: Saved = dict,
        routed: Collection[str] = (),
    ) -> None:
        super().__init__(path, timezone, saved, routed)
        self._console = f"{public_url}/console/events" if public_url else ""
        generic = BridgeEnvironment("markdown", timezone, DictLoader({}))
        self._generic = generic.from_string(_GENERIC)
        self._generic_digest = generic.from_string(_GENERIC_DIGEST)

    def file_for(self, event: Event, template: str = "") -> str:
        """Return the file for an event, by a route's template where it names one; '' for none."""
        return find_file(_names(event, template), self.files)

    def messages(self, event: Event, target: Target, is_look: bool = False) -> list[Message]:
        """Return an event's messages for a bot, in the order of sending. Never raises.

        The first is by the target's template, the event's type or `default`; mentions that it
        cannot carry and the target's attachments follow. Where it is only to be looked at, nothing
        is noted of a template's failure.
        """
        return self.preview(event, target, is_look)[0]

    def preview(
        self, event: Event, target: Target, is_look: bool = False
    ) -> tuple[list[Message], bool]:
        """Return the same messages, and whether something was cut in the first of them."""
        names, make = _names(event, target.template), partial(_main, event, target)
        main, was_cut = self._render(names, self._generic, make, is_look)
        was_cut = was_cut or CUT in str(main.body)  # by the template itself, as in `stack`
        following = follow_up(main.msgtype, target.mention, event.fields["title"])
        if "qrcode" in target.attach:
            following += attachments.qrcode(event)
        if "log" in target.attach and was_cut:
            following += attachments.log_file(event)
        return [main, *following], was_cut

    def digest(self, deliveries: Sequence[Delivery]) -> tuple[Message, list[Delivery]]:
        """Return one message for as many deliveries as it has room for, and these deliveries."""
        return self._render(
            ["digest"], self._generic_digest, partial(_digest, deliveries, self._console)
        )

    def draft(
        self, source: str, file: str, event: Event, target: Target, earlier: Sequence[Event] = ()
    ) -> tuple[Message, bool] | Finding:
        """Return the message that a file would make of an event if this were its text, or why none.

        Also returns whether values had to be cut; of a digest, which is one of the `earlier` events
        as well, whether some had no room. A helper such as `_ours.j2` is shown through the file
        that the event uses. It is rendered in the child process.
        """
        shown = file if msgtype_of(file) else self.file_for(event)
        sources = {**self.files, file: source}
        events = [replace(each, raw=b"") for each in (*earlier, event)]
        settings = (self._timezone, self._console)
        try:
            made = child.run(render_draft, sources, shown, events, target, *settings)
        except TooCostlyError as error:
            return finding_of(error)
        except ChildError as error:
            return Finding("no_child", values={"error": str(error)})
        if "problem" in made:
            return Finding(*made["problem"])
        return Message(made["msgtype"], made["body"]), made["was_cut"]

    def try_texts(self, texts: Mapping[str, str | None]) -> dict[str, Finding]:
        """Return what would be wrong if these were the texts of these files, by file.

        None: there would be no such file. Another file that works now is named as well if it would
        be broken by them.
        """
        new, broken = {**self.files, **texts}, self._try_all().problems
        sources = {file: text for file, text in new.items() if text is not None}
        works = [file for file in sources if msgtype_of(file) and file not in broken]
        return self.try_files(sources, [f for f in sources if f in works or f in texts])

    def try_files(self, sources: Mapping[str, str], files: Sequence[str]) -> dict[str, Finding]:
        """Render some files, given the texts of all; return what is wrong with which."""
        try:
            found = child.run(try_files, sources, files, self._timezone)
            return {file: Finding(*row) for file, row in found.items()}
        except ChildError as error:
            log.warning("%s; templates are tried without its limits", error)
            return try_files(sources, files, self._timezone)
        except TooCostlyError as error:
            if len(files) == 1:
                return {files[0]: finding_of(error)}
        each = [self.try_files(sources, [file]) for file in files]
        return {file: problem for found in each for file, problem in found.items()}


def _names(event: Event, template: str) -> list[str]:
    """Return the names of an event's template.

    A payload cannot choose the digest's, nor one of the bridge's own events, which have no `type`
    in theirs: those templates do not show what a sender wrote.
    """
    said = event.fields["type"]
    kept = OWN_EVENTS if said else {"digest"}
    types = [name for name in (said, event.type) if name.partition(".")[0] not in kept]
    return [template, *types, "default"]


def _load(sources: Mapping[str, str], file: str, timezone: tzinfo) -> Template:
    environment = BridgeEnvironment(msgtype_of(file) or "markdown", timezone, DictLoader(sources))
    with environment.limited():  # Jinja2 works out constants while it compiles
        return environment.get_template(file)


def try_files(
    sources: Mapping[str, str], files: Sequence[str], timezone: tzinfo
) -> dict[str, Finding]:
    """Render some of these files for a try, compile helpers; return what is wrong with which."""
    problems = {}
    for file in files:
        try:
            template = _load(sources, file, timezone)
            if msgtype := msgtype_of(file):
                _try_one(file.removesuffix(f".{msgtype}.j2"), template)
        except Exception as error:  # anything may come out of a user's template
            problems[file] = finding_of(error, file)
    return problems


def render_draft(
    sources: Mapping[str, str],
    file: str,
    events: Sequence[Event],
    target: Target,
    timezone: tzinfo,
    console: str,
) -> dict[str, Any]:
    """Return `msgtype`, `body` and `was_cut` of a draft's message, or the `problem` with it.

    It is a message of the last event, or a digest of all.
    """
    try:
        template = _load(sources, file, timezone)
        if file.startswith("digest."):
            deliveries = [Delivery(n, event, target) for n, event in enumerate(events)]
            message, shown = _digest(deliveries, console, template)
            was_cut = len(shown) < len(deliveries)
        else:
            message, was_cut = _main(events[-1], target, template)
    except Exception as error:
        return {"problem": finding_of(error, file)}
    return {"msgtype": message.msgtype, "body": message.body, "was_cut": was_cut}


def _try_one(stem: str, template: Template) -> None:
    events = [Event(stem, payload, 0.0) for payload in _TRIAL_PAYLOADS]
    target = Target("default")
    if stem == "digest":
        _digest([Delivery(n, event, target) for n, event in enumerate(events)], "", template)
        return
    shown = 0
    for event in events:
        with suppress(BlankError):  # some events may have nothing to show
            _main(event, target, template)
            shown += 1
    if not shown and not _may_show_others(template):
        raise BlankError("blank")


def _may_show_others(template: Template) -> bool:
    """Return whether a template that shows nothing of an event may show something of another."""
    environment = _environment(template)
    assert environment.loader and template.name
    tree = environment.parse(environment.loader.get_source(environment, template.name)[0])
    has_other_parts = any(tree.find_all((nodes.If, nodes.CondExpr, nodes.Include)))
    return has_other_parts or bool({"payload", "event"} & meta.find_undeclared_variables(tree))


def _main(event: Event, target: Target, template: Template) -> tuple[Message, bool]:
    """Return the message that a template makes of an event, and whether values were cut."""
    environment = _environment(template)
    msgtype, context = environment.msgtype, Context(event)
    mention = inline_mentions(msgtype, target.mention)

    def render(value_size: int, entries: int, key_size: int) -> str:
        shown = mention if environment.is_json else Markup(mention)
        variables = {**context.variables(value_size, entries, key_size), "mention": shown}
        return environment.render(template, variables, mention)

    with environment.limited():
        if environment.is_json:
            room = _NEWS_VALUE if msgtype == "news" else _JSON_VALUE
            body = parse_body(msgtype, render(room, room, room))
            return Message(msgtype, body), CUT in str(body)
        text, was_cut = fit(render, TEXT_LIMITS[msgtype])
    return _text_message(msgtype, text, mention, target.mention), was_cut


def _digest(
    deliveries: Sequence[Delivery], console: str, template: Template
) -> tuple[Message, list[Delivery]]:
    environment = _environment(template)
    msgtype = environment.msgtype
    if environment.is_json:
        raise NoMessageError("digest_msgtype", known=", ".join(TEXT_LIMITS), msgtype=msgtype)
    names = [name for delivery in deliveries for name in delivery.target.mention]
    mention = inline_mentions(msgtype, names)

    def render(groups: Sequence[Group], detail: Detail) -> str:
        shown = [group.variables(detail) for group in groups]
        variables = {
            "total": sum(group["count"] for group in shown),
            "groups": shown,
            "hidden": sum(group["hidden"] for group in shown),
            "console": console,
            "mention": Markup(mention),
        }
        return environment.render(template, variables, mention)

    with environment.limited():
        groups = group_deliveries(deliveries)
        text, shown = fit_groups(groups, render, TEXT_LIMITS[msgtype])
    message = _text_message(msgtype, text, mention, names)
    return message, [delivery for group in shown for delivery in group.deliveries]


def _text_message(msgtype: str, text: str, mention: str, names: Sequence[str]) -> Message:
    """Raise BlankError where a text shows nothing beside its mention: WeCom would refuse it."""
    if not any(char.isprintable() and char != " " for char in text.removesuffix(mention)):
        raise BlankError("blank")
    lists = mention_lists(names) if MSGTYPES[msgtype].mention_lists else {}
    return Message(msgtype, {"content": text, **lists})


def _environment(template: Template) -> BridgeEnvironment:
    assert isinstance(template.environment, BridgeEnvironment)
    return template.environment
