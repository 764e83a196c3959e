"""`bridge show`: one event with its deliveries and attempts."""

import sys
import time
from datetime import tzinfo

import click

from bridge.cli import common
from bridge.cli.terminal import Terminal, attributes, iso, local_time, one_line, visible
from bridge.model import API, Event, as_text
from bridge.receiving import explain
from bridge.storage.queries import AttemptLine, DeliveryLine
from bridge.wording import detail, meaning
from bridge.wording import gettext as _

_SHOWN = ("id", "received_at", "type", "error", "source", "payload", "rules", "duplicates")
_LONGEST = 2000  # characters of one field


@click.command()
@click.argument("event_id", metavar="ID", type=common.EVENT_ID)
@click.option("--raw", is_flag=True, help="Only the bytes that came.")
@common.json_option
def show(event_id: int, raw: bool, as_json: bool) -> None:
    """An event with its deliveries and attempts."""
    if raw and as_json:
        raise click.UsageError(_("choose one of --raw and --json"))
    with common.open_bridge() as (bridge, terminal):
        event, zone = common.stored_event(bridge, event_id), bridge.settings.timezone
        if raw:
            _show_raw(event.raw)
            return
        deliveries = bridge.queries.deliveries(event_id)
        if as_json:
            shown = [_as_json(line, zone) for line in deliveries]
            terminal.json(attributes(event, _SHOWN, zone) | {"deliveries": shown})
            return
        _show_event(terminal, event, zone)
        routed = explain.routed_text(event.rules, not deliveries)
        if routed or not deliveries:
            terminal.say(routed or _("It is sent to nobody."))
        for line in deliveries:
            terminal.say(f"→ {common.delivery_state(line)}  {_explained(line, zone)}".rstrip())
            terminal.table([_attempt_row(attempt, zone) for attempt in line.attempts], "    ")


def _show_raw(raw: bytes) -> None:
    """Write the bytes as they came, into a file or a pipe; to a terminal only what is harmless."""
    if sys.stdout.isatty():
        click.echo(visible(raw.decode(errors="replace")))
    else:
        sys.stdout.buffer.write(raw)


def _show_event(terminal: Terminal, event: Event, zone: tzinfo) -> None:
    received = local_time(event.received_at, zone)
    head = _("Event %(id)s", id=event.id)
    terminal.say(f"{head}  {one_line(event.type) or '-'}  {received}")
    if event.source == API:
        terminal.say("  " + _("Caught up: its webhook did not come"))
    if event.error:
        why = _("cannot be decoded: %(why)s", why=_(event.error))
        terminal.say(f"  {why} (bridge show {event.id} --raw)")
    for name, value in event.payload.items():
        text = visible(as_text(value))
        if len(text) > _LONGEST:
            whole = _("%(count)s characters: --json", count=len(text))
            text = f"{text[:_LONGEST]}… ({whole})"
        terminal.say(f"  {one_line(name)}: " + text.replace("\n", "\n    "))


def _explained(line: DeliveryLine, zone: tzinfo) -> str:
    if line.state == "pending" and line.target.not_before > time.time():
        return _("quiet until %(when)s", when=local_time(line.target.not_before, zone))
    return meaning(line.reason) if line.reason != "ok" else ""


def _attempt_row(attempt: AttemptLine, zone: tzinfo) -> list[str]:
    if not attempt.verdict:
        return [local_time(attempt.started_at, zone), "-", "", "", _("being sent")]
    more = detail(attempt.reason, attempt.errcode, attempt.detail)
    return [
        local_time(attempt.started_at, zone),
        "-" if attempt.errcode is None else str(attempt.errcode),
        attempt.reason,
        f"{1000 * (attempt.ended_at - attempt.started_at):.0f} ms",
        meaning(attempt.reason) + (f" ({more})" if more else ""),
    ]


def _as_json(line: DeliveryLine, zone: tzinfo) -> dict[str, object]:
    shown = ["started_at", "ended_at", "verdict", "reason", "errcode", "detail", "carried", "count"]
    return {
        **attributes(line.target, ["bot", "mention", "template", "attach"], zone),
        "quiet_until": iso(line.target.not_before, zone),
        **attributes(line, ["state", "reason", "created_at", "expires_at", "settled_at"], zone),
        "meaning": line.reason,  # neutral, as all of it: the texts are for people
        "attempts": [
            {**attributes(attempt, shown, zone), "meaning": attempt.reason}
            for attempt in line.attempts
        ],
    }
