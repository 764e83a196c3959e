"""`bridge preview`: the messages that an event would make, without sending any."""

import base64
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from bridge.cli.common import (
    EVENT_ID,
    bot_names,
    decode_body,
    event_title,
    json_option,
    open_bridge,
    read_body,
    stored_event,
)
from bridge.cli.terminal import Terminal, visible
from bridge.messages.markdown import size
from bridge.messages.renderer import Renderer
from bridge.model import Delivery, Event, Message, Target, to_json
from bridge.msgtypes import MSGTYPES, TEXT_LIMITS
from bridge.receiving import routing
from bridge.samples import examples, samples
from bridge.wiring import Bridge

_DIGEST = "digest"


@dataclass(frozen=True)
class _Shown:
    """The messages of one event, and whether the first had to be cut."""

    title: str
    messages: Sequence[Message]
    cut: bool


@click.command()
@click.argument("subject", metavar="[TYPE|FILE]", default="")
@click.option(
    "--event", "event_id", metavar="ID", type=EVENT_ID, help="用收到过的事件 · Of a stored event."
)
@click.option("--payload", metavar="FILE", help="用文件里的，或 - · Of a payload, or -.")
@click.option(
    "--bot", metavar="BOT", default="", help="按它的规则：提醒、模板、附件 · By this bot's route."
)
@json_option
def preview(
    subject: str, event_id: int | None, payload: str | None, bot: str, as_json: bool
) -> None:
    """消息会是什么样、多少字节 · What a message would be, and its bytes. Sends nothing.

    TYPE: 事件类型或模板名，用示例 · an event's type or a template's name, with the sample.
    FILE: 模板文件 · a template's file, e.g. drafts/crashlog.text.j2.
    """
    if event_id and payload:
        raise click.UsageError("--event 和 --payload 只能选一个 · choose one of the two")
    if not (subject or event_id or payload):
        raise click.UsageError("要看什么 · of what? A type, a template, --event or --payload")
    with open_bridge() as (bridge, terminal):
        bots = bot_names([bot], bridge.settings.bots)
        with _template(bridge, subject, bool(event_id or payload)) as (renderer, template):
            events = _events(bridge, subject, template, event_id, payload)
            shown = _rendered(bridge, renderer, events, template, bots)
            problems = sorted(renderer.problems_by_file.values())
        if as_json:
            messages = [_as_json(each, n) for each in shown for n in range(len(each.messages))]
            terminal.json({"messages": messages, "problems": problems})
        else:
            for each in shown:
                _show(terminal, each)
        for problem in problems:
            terminal.say(f"!! 模板 template {problem}", err=True)
    if problems:
        raise click.exceptions.Exit(1)


@contextmanager
def _template(bridge: Bridge, subject: str, has_event: bool) -> Iterator[tuple[Renderer, str]]:
    """Yield the renderer and the template's name, '' where the event's type decides."""
    renderer, name = bridge.renderer, subject.removesuffix(".j2")
    if subject.endswith(".j2") and Path(subject).is_file():
        with _with_draft(bridge, Path(subject)) as folder:
            config = bridge.settings
            yield Renderer(folder, config.timezone, config.public_url), Path(name).name
    elif not subject or (subject in samples() and not has_event):
        yield renderer, ""
    elif renderer.knows(name) or subject in samples():
        yield renderer, name
    else:
        folder = bridge.settings.templates
        files = {path.name.split(".")[0] for path in folder.glob("*.j2")} - {"_macros"}
        known = ", ".join(sorted({*samples(), *files}))
        problem = f"没有类型、模板或文件 · there is no type, template or file {subject!r}"
        raise click.UsageError(f"{problem}; there are: {known}")


@contextmanager
def _with_draft(bridge: Bridge, draft: Path) -> Iterator[Path]:
    """Yield a copy of the folder of templates with this file in it."""
    with tempfile.TemporaryDirectory() as folder:
        shared = draft.parent.glob("_*.j2")
        for path in (*bridge.settings.templates.glob("*.j2"), *shared):
            with suppress(OSError):  # `bridge check` reports what cannot be read
                Path(folder, path.name).write_bytes(path.read_bytes())
        try:
            Path(folder, draft.name).write_bytes(draft.read_bytes())
        except OSError as error:
            problem = f"无法读取 cannot read {str(draft)!r}: {error.strerror}"
            raise click.UsageError(problem) from None
        yield Path(folder)


def _events(
    bridge: Bridge, subject: str, template: str, event_id: int | None, payload: str | None
) -> list[Event]:
    if event_id:
        return [stored_event(bridge, event_id)]
    if payload:
        return decode_body(read_body(payload))
    stem, known = (template or subject).split(".")[0], examples()
    if stem == _DIGEST:
        return [known[kind] for kind in samples()]
    # `crashlog-short` is for crashlogs; whatever else has a name of its own shows a new version.
    kinds = [kind for kind in known if stem.lower().startswith(kind.lower())]
    return [known[max(kinds, key=len, default="updateVersion")]]


def _rendered(
    bridge: Bridge, renderer: Renderer, events: list[Event], template: str, bots: list[str]
) -> list[_Shown]:
    if template.split(".")[0] == _DIGEST:
        deliveries = [Delivery(n, e, _target(bridge, e, "", bots)) for n, e in enumerate(events)]
        message, included = renderer.digest(deliveries)
        title = f"{_DIGEST} · {len(included)}/{len(events)}"
        return [_Shown(title, [message], len(included) < len(events))]
    found = []
    for event in events:
        target = _target(bridge, event, template, bots)
        event = replace(event, id=event.id or 1)  # as if it were stored
        found.append(_Shown(event_title(event), *renderer.preview(event, target)))
    return found


def _target(bridge: Bridge, event: Event, template: str, bots: list[str]) -> Target:
    """Return how an event is sent: by the bot's route, or plainly where no bot is named."""
    if not bots:
        return Target("default", template=template)
    zone = bridge.settings.timezone
    routed = [t for t in routing.targets(event, bridge.routes, zone) if t.bot == bots[0]]
    target = (routed or routing.targets(event, bridge.routes, zone, bots[:1]))[0]
    return replace(target, template=template or target.template)


def _show(terminal: Terminal, shown: _Shown) -> None:
    terminal.say(shown.title)
    for number, message in enumerate(shown.messages):
        facts = _as_json(shown, number)
        of = f"/{facts['limit']}" if facts["limit"] else ""
        cut = "  已截断 cut" if facts["cut"] else ""
        place = f"{number + 1}/{len(shown.messages)}"
        terminal.say(f"── {place}  {message.msgtype}  {facts['bytes']}{of} 字节 bytes{cut}")
        terminal.say(_readable(message))


def _readable(message: Message) -> str:
    body = message.body
    if message.msgtype == "image":
        return "[二维码 QR code]"
    if message.msgtype == "file":
        lines = body["data"].count(b"\n") + 1
        return f"[文件 file {body['filename']}, {lines} 行 lines]"
    if message.msgtype not in TEXT_LIMITS:
        return to_json(body, indent=2)
    lists = [f"[{name}: {', '.join(who)}]" for name, who in body.items() if name != "content"]
    return "\n".join([visible(body["content"]), *lists])


def _as_json(shown: _Shown, number: int) -> dict[str, Any]:
    message = shown.messages[number]
    body = dict(message.body)
    if message.msgtype == "image":
        used = len(base64.b64decode(body["base64"]))
        body = {"md5": body["md5"]}
    elif message.msgtype == "file":
        used = len(body["data"])
        body = {"filename": body["filename"], "data": body["data"].decode()}
    else:
        used = size(body.get("content") or to_json(body))
    limit = MSGTYPES[message.msgtype].limit
    cut = shown.cut and not number
    return {
        "msgtype": message.msgtype, "bytes": used, "limit": limit, "cut": cut, "body": body,
    }  # fmt: skip
