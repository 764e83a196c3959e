"""`bridge retry`: send failed and expired deliveries again, or try a stopped bot at once."""

from collections.abc import Sequence

import click

from bridge.cli import common
from bridge.cli.terminal import Terminal, progress
from bridge.storage.operator import DONE
from bridge.storage.queries import DeliveryLine, Wanted
from bridge.wiring import Bridge
from bridge.wording import N_, meaning
from bridge.wording import gettext as _

RETRIED = ("parked", "expired")
_LISTED = 20  # deliveries that are printed one by one
_CHUNK = 500  # deliveries in one transaction, so that a running bridge need not wait


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=common.EVENT_ID)
@click.option("--state", type=click.Choice(RETRIED), help="Both unless given.")
@common.since_option
@click.option("--all", "everything", is_flag=True, help="However old they are.")
@click.option("--bot", metavar="BOT", default="", help="Of this bot only.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
def retry(
    ids: tuple[int, ...],
    state: str | None,
    since: float | None,
    everything: bool,
    bot: str,
    dry_run: bool,
) -> None:
    """Send again what was parked or has expired.

    Name events, as in `bridge retry 12 15`, or a time, as in `bridge retry --since 2h`.

    `bridge retry --bot dev` alone tries a stopped bot at once.
    """
    if sum(map(bool, (ids, since, everything))) > 1:
        raise click.UsageError(_("choose one of: IDs, --since, --all"))
    with common.open_bridge() as (bridge, terminal):
        bot = common.known_bot(bot, bridge.settings.bots)
        if bot and not (ids or since or everything or state):
            text = N_("bot %(bot)s: it would be tried at once")
            if not dry_run:
                bridge.outbox.resume(bot)
                text = N_("bot %(bot)s: a running bridge tries it within seconds")
            terminal.say(_(text, bot=bot))
            return
        if not (ids or since or everything):
            text = N_("which ones? Give events' IDs, --since 2h, or --all if you mean everything")
            raise click.UsageError(_(text))
        begin = bridge.outbox.database.time() - since if since else 0.0
        states = (state,) if state else RETRIED
        found = _of_events(bridge, ids) if ids else _since(bridge, begin, states)
        found = [line for line in found if bot in ("", line.target.bot)]
        wanted = [line for line in found if line.state in states]
        done = _retry(bridge, terminal, wanted, dry_run)
        is_missing = _say_skipped(bridge, terminal, ids, found, states) if ids else False
    if is_missing or not done:
        raise click.exceptions.Exit(1)


def _of_events(bridge: Bridge, ids: Sequence[int]) -> list[DeliveryLine]:
    """Return the deliveries of these events."""
    found = [line for event_id in set(ids) for line in bridge.queries.deliveries(event_id)]
    return sorted(found, key=lambda line: line.id)


def _since(bridge: Bridge, begin: float, states: Sequence[str]) -> list[DeliveryLine]:
    """Return the deliveries of events since then, oldest first, except those marked as done."""
    found = {
        line.id: line
        for state in states
        for event in common.matching_events(bridge.queries, Wanted(state=state, since=begin))
        for line in event.deliveries
        if line.reason != DONE
    }
    return sorted(found.values(), key=lambda line: (line.event_id, line.id))


def _say_skipped(
    bridge: Bridge,
    terminal: Terminal,
    ids: Sequence[int],
    found: Sequence[DeliveryLine],
    states: Sequence[str],
) -> bool:
    """Print what was named and yet not retried, with the reason; return if an event is missing."""
    for line in found:
        if line.state not in states:
            text = N_("skipped: event %(id)s → %(line)s is not %(states)s")
            shown, wanted = common.delivery_state(line), " / ".join(states)
            terminal.say(_(text, id=line.event_id, line=shown, states=wanted), err=True)
    is_missing = False
    for event_id in sorted(set(ids) - {line.event_id for line in found}):
        text = N_("skipped: event %(id)s has no delivery")
        if bridge.queries.event(event_id) is None:
            text, is_missing = N_("there is no event %(id)s"), True
        terminal.say(_(text, id=event_id), err=True)
    return is_missing


def _retry(bridge: Bridge, terminal: Terminal, found: Sequence[DeliveryLine], dry_run: bool) -> int:
    """Retry deliveries and print them; return how many."""
    known = bridge.settings.bots
    for name in sorted({line.target.bot for line in found} - known.keys()):
        text = N_("skipped: there is no bot %(name)r any more")
        terminal.say(_(text, name=name), err=True)
    lines = [line for line in found if line.target.bot in known]
    for line in lines[:_LISTED]:
        state = common.delivery_state(line)
        terminal.say(_("event %(id)s → %(state)s", id=line.event_id, state=state))
    if len(lines) > _LISTED:
        terminal.say(_("… and %(count)s more", count=len(lines) - _LISTED))
    if dry_run:
        terminal.say(_("would retry: %(count)s", count=len(lines)))
        return len(lines)
    done, ids = 0, [line.id for line in lines]
    with progress(range(0, len(ids), _CHUNK), "retry") as starts:
        for start in starts:
            done += bridge.operator.retry(ids[start : start + _CHUNK])
    terminal.say(_("retried: %(count)s", count=done))
    retried = {line.target.bot for line in lines}
    for bot in bridge.queries.bots(0.0):
        if bot.stopped and bot.name in retried:
            text = N_(
                "the bot %(bot)s is stopped (%(why)s) and sends nothing until: "
                "bridge retry --bot %(bot)s"
            )
            terminal.say(_(text, bot=bot.name, why=meaning(bot.stopped)), err=True)
    return done
