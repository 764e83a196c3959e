"""`bridge retry`: send failed and expired deliveries again, or try a stopped bot at once."""

from collections.abc import Sequence

import click

from bridge.cli import common
from bridge.cli.terminal import Terminal, progress
from bridge.storage.operator import DONE
from bridge.storage.queries import DeliveryLine, Wanted
from bridge.wiring import Bridge

RETRIED = ("parked", "expired")
_LISTED = 20  # deliveries that are printed one by one
_CHUNK = 500  # deliveries in one transaction, so that a running bridge need not wait


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=common.EVENT_ID)
@click.option("--state", type=click.Choice(RETRIED), help="默认两种都要 · Both unless given.")
@common.since_option
@click.option("--all", "everything", is_flag=True, help="不限时间 · However old they are.")
@click.option("--bot", metavar="BOT", default="", help="只限它 · Of this bot only.")
@click.option("--dry-run", is_flag=True, help="只显示，不执行 · Only print what would be done.")
def retry(
    ids: tuple[int, ...],
    state: str | None,
    since: float | None,
    everything: bool,
    bot: str,
    dry_run: bool,
) -> None:
    """重发失败或过期的 · Send again what was parked or has expired.

    \b
    bridge retry 12 15                   这些事件 · these events
    bridge retry --state parked --since 2h
    bridge retry --bot dev               马上重试停用的机器人 · try a stopped bot now
    """
    if sum(map(bool, (ids, since, everything))) > 1:
        problem = "ID、--since、--all 只能选一种 · choose one of: IDs, --since, --all"
        raise click.UsageError(problem)
    with common.open_bridge() as (bridge, terminal):
        bot = common.known_bot(bot, bridge.settings.bots)
        if bot and not (ids or since or everything or state):
            text = "会马上重试 · would be tried at once"
            if not dry_run:
                bridge.outbox.resume(bot)
                text = "正在运行的服务会在几秒内重试 · a running bridge tries it within seconds"
            terminal.say(f"机器人 {bot}：{text}")
            return
        if not (ids or since or everything):
            raise click.UsageError(
                "要重发哪些？给事件号、--since 2h，或确实要全部就 --all"
                " · which ones? Give events' IDs, --since 2h, or --all if you mean everything"
            )
        begin = bridge.outbox.database.time() - since if since else 0.0
        states = (state,) if state else RETRIED
        found = _of_events(bridge, ids) if ids else _since(bridge, begin, states)
        wanted = [d for d in found if d.state in states and bot in ("", d.target.bot)]
        done = _retry(bridge, terminal, wanted, dry_run)
        missing = sorted(number for number in set(ids) if bridge.queries.event(number) is None)
        for event_id in missing:
            terminal.say(f"没有事件 · there is no event {event_id}", err=True)
    if missing or not done:
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
    return sorted(found.values(), key=lambda line: (line.event, line.id))


def _retry(bridge: Bridge, terminal: Terminal, found: Sequence[DeliveryLine], dry_run: bool) -> int:
    """Retry deliveries and print them; return how many."""
    known = bridge.settings.bots
    for name in sorted({line.target.bot for line in found} - known.keys()):
        terminal.say(f"跳过 · skipped: 已没有机器人 there is no bot {name!r} any more", err=True)
    lines = [line for line in found if line.target.bot in known]
    for line in lines[:_LISTED]:
        terminal.say(f"事件 event {line.event} → {common.delivery_state(line)}")
    if len(lines) > _LISTED:
        terminal.say(f"… 还有 and {len(lines) - _LISTED} more")
    if dry_run:
        terminal.say(f"会重发 would retry: {len(lines)}")
        return len(lines)
    done, ids = 0, [line.id for line in lines]
    with progress(range(0, len(ids), _CHUNK), "retry") as starts:
        for start in starts:
            done += bridge.operator.retry(ids[start : start + _CHUNK])
    terminal.say(f"重发 retried: {done}")
    retried = {line.target.bot for line in lines}
    for bot in bridge.queries.bots(0.0):
        if bot.stopped and bot.name in retried:
            terminal.say(
                f"机器人 {bot.name} 已停用，恢复前不会发送 · the bot is stopped ({bot.stopped}) and"
                f" sends nothing until: bridge retry --bot {bot.name}",
                err=True,
            )
    return done
