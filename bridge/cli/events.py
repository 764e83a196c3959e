"""`bridge events` and `bridge show`: what has been."""

import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from itertools import islice
from typing import Any

import click

from bridge.cli.common import EVENT_ID, database_name, json_option, opened, since_option
from bridge.cli.meanings import meaning
from bridge.cli.terminal import Terminal, fit, moment, one_line, visible
from bridge.model import Event, as_text
from bridge.storage.queries import AttemptLine, DeliveryLine, EventLine, Queries, Wanted

_PAGE = 200  # events
_LONGEST = 2000  # characters of one field
STATES = ("pending", "sent", "parked", "expired")


@click.command()
@click.option("--state", type=click.Choice(STATES), help="有这种投递的 · With such a delivery.")
@since_option
@click.option("--type", "kind", default="", help="事件类型 · The event's type, e.g. crashlog.")
@click.option("--app", default="", help="应用名含有 · What the app's name contains.")
@click.option("--bot", metavar="BOT", default="", help="给这个机器人的 · Told to this bot.")
@click.option("--text", default="", help="标题、版本、说明含有 · What title or notes contain.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, 100_000), default=20, show_default=True
)
@json_option
def events(
    state: str | None,
    since: float | None,
    kind: str,
    app: str,
    bot: str,
    text: str,
    limit: int,
    as_json: bool,
) -> None:
    """收到的事件，最新的在最后 · The events that came in, the newest last."""
    with opened() as (bridge, terminal):
        begin = bridge.outbox.database.time() - since if since else 0.0
        wanted = Wanted(app, kind, bot.lower(), state or "", text, begin)
        zone = bridge.settings.timezone
        found = list(islice(matching(bridge.queries, wanted), limit))[::-1]
        if as_json:
            terminal.json([_line_as_json(line, zone) for line in found])
        elif found:
            terminal.table([_row(line, zone) for line in found])
        else:
            where = database_name(bridge.settings)
            terminal.say(f"没有这样的事件 · no such events ({where})", err=True)


def matching(history: Queries, wanted: Wanted) -> Iterator[EventLine]:
    """Yield all events that are wanted, newest first."""
    before: int | None = None
    while True:
        page = history.events(wanted, before, _PAGE)
        yield from page.events
        before = page.older
        if before is None:
            return


def _row(line: EventLine, zone: tzinfo) -> list[str]:
    fields = line.fields
    build = f"({fields['build_version']})" if fields["build_version"] else ""
    version = " ".join(filter(None, (fields["os_version"], build)))
    return [
        str(line.id),
        moment(line.received_at, zone),
        fit(line.type or "-", 20),
        fit(fields["title"] or line.error or "-", 28),
        fit(" ".join(filter(None, (version, fields["device_type"]))) or "-", 24),
        ", ".join(_told(delivery) for delivery in line.deliveries) or "-",
    ]


def _told(line: DeliveryLine) -> str:
    why = f" ({line.reason})" if line.reason and line.reason != "ok" else ""
    return f"{line.target.bot} {line.state}{why}"


@click.command()
@click.argument("event_id", metavar="ID", type=EVENT_ID)
@click.option("--raw", is_flag=True, help="只要收到的原文 · Only the bytes that came.")
@json_option
def show(event_id: int, raw: bool, as_json: bool) -> None:
    """一个事件和它的投递、尝试 · An event with its deliveries and attempts."""
    if raw and as_json:
        raise click.UsageError("--raw 和 --json 只能选一个 · choose one of --raw and --json")
    with opened() as (bridge, terminal):
        event = bridge.queries.event(event_id)
        if event is None:
            where = database_name(bridge.settings)
            problem = f"没有事件 · there is no event {event_id} ({where})"
            raise click.ClickException(terminal.clean(problem))
        if raw:
            _show_raw(event.raw)
            return
        told, zone = bridge.queries.deliveries(event_id), bridge.settings.timezone
        if as_json:
            terminal.json(_as_json(event, told, zone))
        else:
            _show(terminal, event, told, zone)


def _show_raw(raw: bytes) -> None:
    """Write the bytes as they came, into a file or a pipe; to a terminal only what is harmless."""
    if sys.stdout.isatty():
        click.echo(visible(raw.decode(errors="replace")))
    else:
        sys.stdout.buffer.write(raw)


def _show(terminal: Terminal, event: Event, told: Sequence[DeliveryLine], zone: tzinfo) -> None:
    received = moment(event.received_at, zone)
    terminal.say(f"事件 Event {event.id}  {one_line(event.type) or '-'}  {received}")
    if event.error:
        terminal.say(f"  无法解析 cannot be decoded: {event.error} (bridge show {event.id} --raw)")
    for name, value in event.payload.items():
        text = visible(as_text(value))
        if len(text) > _LONGEST:
            text = f"{text[:_LONGEST]}… (共 {len(text)} 字 characters: --json)"
        terminal.say(f"  {one_line(name)}: " + text.replace("\n", "\n    "))
    if not told:
        terminal.say("谁也没通知 · Nobody is told of it.")
    for delivery in told:
        terminal.say(f"→ {_told(delivery)}  {_explained(delivery, zone)}".rstrip())
        terminal.table([_attempt_row(attempt, zone) for attempt in delivery.attempts], "    ")


def _explained(line: DeliveryLine, zone: tzinfo) -> str:
    if line.state == "pending" and line.target.not_before > time.time():
        until = moment(line.target.not_before, zone)
        return f"免打扰到 quiet until {until}"
    return meaning(line.reason) if line.reason != "ok" else ""


def _attempt_row(attempt: AttemptLine, zone: tzinfo) -> list[str]:
    if not attempt.verdict:
        return [moment(attempt.started_at, zone), "-", "", "", "正在发送 · under way"]
    detail = f" ({attempt.detail})" if attempt.detail not in ("", "ok") else ""
    return [
        moment(attempt.started_at, zone),
        "-" if attempt.errcode is None else str(attempt.errcode),
        attempt.reason,
        f"{1000 * (attempt.ended_at - attempt.started_at):.0f} ms",
        meaning(attempt.reason) + detail,
    ]


def _line_as_json(line: EventLine, zone: tzinfo) -> dict[str, Any]:
    told = [
        {"bot": delivery.target.bot, "state": delivery.state, "reason": delivery.reason}
        for delivery in line.deliveries
    ]
    return {
        "id": line.id,
        "received_at": _iso(line.received_at, zone),
        "type": line.type,
        "error": line.error,
        **line.fields,
        "brief": line.brief,
        "deliveries": told,
    }


def _as_json(event: Event, told: Sequence[DeliveryLine], zone: tzinfo) -> dict[str, Any]:
    return {
        "id": event.id,
        "received_at": _iso(event.received_at, zone),
        "type": event.type,
        "error": event.error,
        "payload": event.payload,
        "deliveries": [_delivery_as_json(line, zone) for line in told],
    }


def _delivery_as_json(line: DeliveryLine, zone: tzinfo) -> dict[str, Any]:
    return {
        "bot": line.target.bot,
        "state": line.state,
        "reason": line.reason,
        "meaning": meaning(line.reason),
        "mention": line.target.mention,
        "template": line.target.template,
        "attach": line.target.attach,
        "quiet_until": _iso(line.target.not_before, zone),
        "created_at": _iso(line.created_at, zone),
        "expires_at": _iso(line.expires_at, zone),
        "settled_at": _iso(line.settled_at, zone),
        "attempts": [
            {
                "started_at": _iso(attempt.started_at, zone),
                "ended_at": _iso(attempt.ended_at, zone),
                "verdict": attempt.verdict,
                "reason": attempt.reason,
                "errcode": attempt.errcode,
                "detail": attempt.detail,
                "meaning": meaning(attempt.reason),
            }
            for attempt in line.attempts
        ],
    }


def _iso(epoch: float, zone: tzinfo) -> str | None:
    """Return epoch seconds by ISO 8601; None for 0, which is never."""
    return datetime.fromtimestamp(epoch, zone).isoformat(timespec="milliseconds") if epoch else None
