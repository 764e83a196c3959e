"""`bridge routes test`: which rules match an event, and which bots it would go to."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from bridge.cli import common
from bridge.cli.terminal import Terminal, attributes, local_time, one_line
from bridge.model import Event, Route, Target
from bridge.receiving.routing import compared, failing, targets
from bridge.wiring import Bridge


@click.group()
def routes() -> None:
    """路由规则 · The rules in routes.toml."""


@routes.command()
@click.argument("file")
@common.bots_option
@common.json_option
def test(file: str, bots: tuple[str, ...], as_json: bool) -> None:
    """一个事件会匹配哪些规则、发给谁、为什么 · Which bots would get an event, and why.

    FILE: 文件、- 或示例名 · a file, - or a sample's name, e.g. crashlog. 不会发出 · Sends nothing.
    """
    body = common.read_body(file)
    with common.open_bridge() as (bridge, terminal):
        names = common.bot_names(bots, bridge.settings.bots)
        events = common.decode_body(body)
        zone = bridge.settings.timezone
        found = [(event, targets(event, bridge.routes, zone, names)) for event in events]
        if as_json:
            terminal.json([_as_json(bridge, event, chosen) for event, chosen in found])
        else:
            for event, chosen in found:
                _explain(bridge, terminal, event, chosen)
        templates = {target.template for _, chosen in found for target in chosen} - {""}
        missing = sorted(name for name in templates if not bridge.renderer.knows(name))
        for name in missing:
            text = f"没有模板 · there is no template {name!r}: 用事件自己的 the event's own is used"
            terminal.say(text, err=True)
    if missing:
        raise click.exceptions.Exit(1)


def _results(event: Event, rules: Sequence[Route]) -> Iterator[tuple[Route, str, list[str]]]:
    """Yield each rule with `matched`, `failed` or `not reached`, and the conditions that failed."""
    reached = True
    for rule in rules:
        failed = failing(event, rule) if reached else []
        result = "failed" if failed else "matched"
        yield rule, result if reached else "not reached", failed
        reached = reached and (bool(failed) or rule.continues)


def _explain(bridge: Bridge, terminal: Terminal, event: Event, chosen: Sequence[Target]) -> None:
    terminal.say(f"事件 Event: {common.event_title(event)}")
    if not bridge.routes:
        terminal.say("  没有规则，都发给 default · no rules: everything goes to default")
    results = list(_results(event, bridge.routes))
    for rule, result, failed in results:
        text = {
            "matched": "✓ 匹配 matches" + ("，继续往下 and goes on" if rule.continues else ""),
            "failed": "✗ " + "; ".join(_why(event, rule, name) for name in failed),
            "not reached": "- 未执行到 not reached",
        }[result]
        terminal.say(f"  规则 rule {rule.rule}: {text}")
    if bridge.routes and not any(result == "matched" for _, result, _ in results):
        terminal.say("  都不匹配，发给 default · nothing matches: it goes to default")
    for target in chosen:
        until = local_time(target.not_before, bridge.settings.timezone)
        details = {
            "提醒 mention": ", ".join(target.mention),
            "模板 template": target.template,
            "附 attach": ", ".join(target.attach),
            "免打扰到 quiet until": until if target.not_before else "",
        }
        shown = (f"  {name} {value}" for name, value in details.items() if value)
        terminal.say(f"  → {target.bot}{''.join(shown)}")
    if not chosen:
        terminal.say("  → 不发给任何人 · nobody: it is muted")


def _why(event: Event, rule: Route, condition: str) -> str:
    values = " / ".join(dict.fromkeys(filter(None, compared(event, condition))))[:80]
    return f"{condition} = {one_line(values)}, 不是 not {' | '.join(rule.conditions[condition])}"


def _as_json(bridge: Bridge, event: Event, chosen: Sequence[Target]) -> dict[str, Any]:
    names, zone = ["bot", "mention", "template", "attach"], bridge.settings.timezone
    return {
        "type": event.type,
        "rules": [
            {"rule": rule.rule, "result": result, "failed": failed}
            for rule, result, failed in _results(event, bridge.routes)
        ],
        "bots": [
            {**attributes(target, names, zone), "quiet_until": target.not_before or None}
            for target in chosen
        ],
    }
