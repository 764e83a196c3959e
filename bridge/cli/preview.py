"""`bridge preview`: the messages that an event would make, without sending any."""

import base64
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bridge.cli import common
from bridge.cli.terminal import Terminal, visible
from bridge.messages.findings import Finding
from bridge.messages.markdown import size
from bridge.messages.renderer import Renderer
from bridge.model import Delivery, Event, Message, Target, to_json
from bridge.msgtypes import MSGTYPES, TEXT_LIMITS
from bridge.receiving import routing
from bridge.samples import example_for, examples, samples
from bridge.wiring import Bridge
from bridge.wording import N_
from bridge.wording import gettext as _

_DIGEST = "digest"
# The title of an event, and its messages for JSON and as a text.
_Shown = tuple[str, list[tuple[dict[str, Any], str]]]


@click.command()
@click.argument("subject", metavar="[TYPE|FILE]", default="")
@click.option(
    "--event", "event_id", metavar="ID", type=common.EVENT_ID,
    help="Of a stored event.",
)  # fmt: skip
@click.option("--payload", metavar="FILE", help="Of a payload, or -.")
@click.option("--bot", metavar="BOT", default="", help="By this bot's route.")
@common.json_option
def preview(
    subject: str, event_id: int | None, payload: str | None, bot: str, as_json: bool
) -> None:
    """What a message would be, and its bytes; sends nothing.

    TYPE is an event's type or a template's name, shown with the sample. FILE is a template's file,
    e.g. drafts/crashlog.text.j2.
    """
    if event_id and payload:
        raise click.UsageError(_("choose one of --event and --payload"))
    if not (subject or event_id or payload):
        raise click.UsageError(_("of what? A type, a template, --event or --payload"))
    draft = Path(subject) if subject.endswith(".j2") and Path(subject).is_file() else None
    opened = common.open_bridge(needs_keys=False)
    with opened as (bridge, terminal), _renderer(bridge, draft) as renderer:
        common.read_saved_templates(bridge)
        bot = common.known_bot(bot, bridge.settings.bots)
        if draft:
            template = draft.name.removesuffix(".j2")
        else:
            template = _template(renderer, subject, bool(event_id or payload))
        if event_id:
            events: Sequence[Event] = [common.stored_event(bridge, event_id)]
        elif payload:
            events = common.decode_body(common.read_body(payload))
        elif template.split(".")[0] == _DIGEST:
            events = [examples()[kind] for kind in samples()]
        else:
            events = [example_for(template or subject)]
        shown = _rendered(bridge, renderer, events, template, bot)
        used = {draft.name if draft else renderer.file_for(event, template) for event in events}
        found = [(file, one) for file, one in _findings(renderer, used) if one.level != "note"]
        if as_json:
            messages = [facts for _title, described in shown for facts, _text in described]
            problems = [one.neutral(file) for file, one in found]
            terminal.json({"messages": messages, "problems": problems})
        else:
            _print(terminal, shown)
        for file, one in found:
            text = _("template %(problem)s", problem=one.located(file))
            terminal.say(f"{'!!' if one.level == 'error' else '??'} {text}", err=True)
    if any(one.level == "error" for _file, one in found):
        raise click.exceptions.Exit(1)


@contextmanager
def _renderer(bridge: Bridge, draft: Path | None) -> Iterator[Renderer]:
    """Yield the bridge's renderer; for a draft, one of the same folder with this file in it."""
    if draft is None:
        yield bridge.renderer
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, source in bridge.renderer.files.items():
            Path(folder, name).write_text(source, encoding="utf-8")
        for path in (*draft.parent.glob("_*.j2"), draft):
            Path(folder, path.name).write_bytes(common.read_body(str(path)))
        yield Renderer(Path(folder), bridge.settings.timezone, bridge.settings.public_url)


def _findings(renderer: Renderer, used: set[str]) -> Iterator[tuple[str, Finding]]:
    """Yield what is wrong with the files that are used, and which others are broken."""
    broken = renderer.problems_by_file
    for file, found in sorted(renderer.findings.items()):
        for one in found:
            if file in used or (file in broken and one.level == "error"):
                yield file, one


def _template(renderer: Renderer, subject: str, has_event: bool) -> str:
    """Return the template's name, '' where the event's type decides."""
    name, kinds = subject.removesuffix(".j2"), samples()
    if not subject or (subject in kinds and not has_event):
        return ""
    if renderer.knows(name) or subject in kinds:
        return name
    files = {file.split(".")[0] for file in renderer.files if not file.startswith("_")}
    text = N_("there is no type, template or file %(name)r; there are: %(known)s")
    raise click.UsageError(_(text, name=subject, known=", ".join(sorted({*kinds, *files}))))


def _rendered(
    bridge: Bridge, renderer: Renderer, events: Sequence[Event], template: str, bot: str
) -> list[_Shown]:
    if template.split(".")[0] == _DIGEST:
        deliveries = [Delivery(n, e, _target(bridge, e, "", bot)) for n, e in enumerate(events)]
        message, included = renderer.digest(deliveries)
        title = f"{_DIGEST} · {len(included)}/{len(events)}"
        return [(title, [_described(message, len(included) < len(events))])]
    found = []
    for event in events:
        stored = replace(event, id=event.id or 1)  # as if it were stored
        messages, cut = renderer.preview(stored, _target(bridge, event, template, bot))
        described = [_described(message, cut and not n) for n, message in enumerate(messages)]
        found.append((common.event_title(event), described))
    return found


def _target(bridge: Bridge, event: Event, template: str, bot: str) -> Target:
    """Return how an event is sent: by the bot's route, or plainly where no bot is named."""
    if not bot:
        return Target("default", template=template)
    routes, zone = bridge.routes, bridge.settings.timezone
    routed = {target.bot: target for target in routing.route(event, routes, zone).targets}
    target = routed.get(bot) or routing.route(event, routes, zone, [bot]).targets[0]
    return replace(target, template=template or target.template)


def _described(message: Message, cut: bool) -> tuple[dict[str, Any], str]:
    """Return a message for JSON, and as a text."""
    body = dict(message.body)
    if message.msgtype == "image":
        used, text = len(base64.b64decode(body.pop("base64"))), f"[{_('QR code')}]"
    elif message.msgtype == "file":
        used, lines = len(body["data"]), body["data"].count(b"\n") + 1
        shown = _("file %(name)s, %(count)s lines", name=body["filename"], count=lines)
        text = f"[{shown}]"
        body["data"] = body["data"].decode()
    elif message.msgtype in TEXT_LIMITS:
        lists = [f"[{name}: {', '.join(who)}]" for name, who in body.items() if name != "content"]
        used, text = size(body["content"]), "\n".join([visible(body["content"]), *lists])
    else:
        used, text = size(to_json(body)), to_json(body, indent=2)
    limit = MSGTYPES[message.msgtype].limit
    facts = {"msgtype": message.msgtype, "bytes": used, "limit": limit, "cut": cut, "body": body}
    return facts, text


def _print(terminal: Terminal, shown: Sequence[_Shown]) -> None:
    for title, described in shown:
        terminal.say(title)
        for number, (facts, text) in enumerate(described, 1):
            of = f"/{facts['limit']}" if facts["limit"] else ""
            used = _("%(count)s bytes", count=f"{facts['bytes']}{of}")
            cut = f"  {_('cut')}" if facts["cut"] else ""
            terminal.say(f"── {number}/{len(described)}  {facts['msgtype']}  {used}{cut}")
            terminal.say(text)
