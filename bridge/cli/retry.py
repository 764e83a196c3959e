"""`bridge retry`: let parked and expired deliveries, or a stopped bot, be tried again."""

from collections.abc import Sequence

import click

from bridge.cli.common import EVENT_ID, bot_names, opened, since_option
from bridge.cli.events import matching
from bridge.cli.terminal import Terminal, progress
from bridge.storage.operator import DONE
from bridge.storage.queries import DeliveryLine, Wanted
from bridge.wiring import Bridge

RETRIED = ("parked", "expired")
_SHOWN = 20  # deliveries that are listed one by one
_CHUNK = 500  # deliveries in one transaction, so that a running bridge need not wait


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=EVENT_ID)
@click.option("--state", type=click.Choice(RETRIED), help="默认两种都要 · Both unless given.")
@since_option
@click.option("--all", "everything", is_flag=True, help="不限时间 · However old they are.")
@click.option("--bot", metavar="BOT", default="", help="只限它 · Of this bot only.")
@click.option("--dry-run", is_flag=True, help="只说会做什么 · Only say what would be done.")
def retry(
    ids: tuple[int, ...],
    state: str | None,
    since: float | None,
    everything: bool,
    bot: str,
    dry_run: bool,
) -> None:
    """再发一次没送到的 · Send again what was parked or has expired.

    \b
    bridge retry 12 15                   这些事件 · these events
    bridge retry --state parked --since 2h
    bridge retry --bot dev               马上重试停用的机器人 · try a stopped bot now
    """
    if sum(map(bool, (ids, since, everything))) > 1:
        problem = "ID、--since、--all 只能选一种 · choose one of: IDs, --since, --all"
        raise click.UsageError(problem)
    with opened() as (bridge, terminal):
        bot = "".join(bot_names([bot], bridge.settings.bots)[:1])
        if ids or since or everything:
            states = (state,) if state else RETRIED
            begin = bridge.outbox.database.time() - since if since else 0.0
            found, missing = _of_events(bridge, ids) if ids else (_since(bridge, begin, states), [])
            found = [
                d for d in found if d.state in states and d.target.bot in (bot or d.target.bot,)
            ]
            done = _retry(bridge, terminal, found, dry_run)
            for event_id in missing:
                terminal.say(f"没有事件 · there is no event {event_id}", err=True)
            if missing or not done:
                raise click.exceptions.Exit(1)
        elif bot and not state:
            _resume(bridge, terminal, bot, dry_run)
        else:
            raise click.UsageError(
                "要重发哪些？给事件号、--since 2h，或确实要全部就 --all"
                " · which ones? Give events' IDs, --since 2h, or --all if you mean everything"
            )


def _resume(bridge: Bridge, terminal: Terminal, bot: str, dry_run: bool) -> None:
    if not dry_run:
        bridge.outbox.resume(bot)
    then = (
        "会马上重试 · would be tried at once"
        if dry_run
        else "正在运行的桥会在几秒内重试 · a running bridge tries it within seconds"
    )
    terminal.say(f"机器人 {bot}：{then}")


def _of_events(bridge: Bridge, ids: Sequence[int]) -> tuple[list[DeliveryLine], list[int]]:
    """Return the deliveries of these events, and which events there are not."""
    found: list[DeliveryLine] = []
    missing = []
    for event_id in dict.fromkeys(ids):
        if bridge.queries.event(event_id) is None:
            missing.append(event_id)
        found += bridge.queries.deliveries(event_id)
    return found, missing


def _since(bridge: Bridge, begin: float, states: Sequence[str]) -> list[DeliveryLine]:
    """Return the deliveries of events since a moment, oldest first, but for what people settled."""
    events = {
        line.id: line
        for state in states
        for line in matching(bridge.queries, Wanted(state=state, since=begin))
    }
    lines = [delivery for number in sorted(events) for delivery in events[number].deliveries]
    return [line for line in lines if line.reason != DONE]


def _retry(bridge: Bridge, terminal: Terminal, found: Sequence[DeliveryLine], dry_run: bool) -> int:
    """Retry deliveries and say so; return how many."""
    gone = {line.target.bot for line in found} - set(bridge.settings.bots)
    for name in sorted(gone):
        terminal.say(f"跳过 · skipped: 已没有机器人 there is no bot {name!r} any more", err=True)
    lines = [line for line in found if line.target.bot not in gone]
    for line in lines[:_SHOWN]:
        why = f" ({line.reason})" if line.reason else ""
        terminal.say(f"事件 event {line.event} → {line.target.bot}: {line.state}{why}")
    if len(lines) > _SHOWN:
        terminal.say(f"… 还有 and {len(lines) - _SHOWN} more")
    if dry_run:
        terminal.say(f"会重发 would retry: {len(lines)}")
        return len(lines)
    done = 0
    chunks = [lines[start : start + _CHUNK] for start in range(0, len(lines), _CHUNK)]
    with progress(chunks, "retry") as waiting:
        for chunk in waiting:
            done += bridge.operator.retry([line.id for line in chunk])
    terminal.say(f"重发 retried: {done}")
    told = {line.target.bot for line in lines}
    for bot in bridge.queries.bots(0.0):
        if bot.stopped and bot.name in told:
            terminal.say(
                f"机器人 {bot.name} 停用中，要等它恢复 · the bot is stopped ({bot.stopped}), so"
                f" they wait: bridge retry --bot {bot.name}",
                err=True,
            )
    return done
