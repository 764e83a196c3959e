"""`bridge routes test`: which rules match an event, and whom it would be told to."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import click

from bridge.cli.common import body_of, bot_names, bots_option, json_option, opened
from bridge.cli.terminal import Terminal, one_line
from bridge.errors import TooLargeError, UndecodableError
from bridge.model import Event, Route, Target
from bridge.receiving import decoding as pgyer
from bridge.receiving.routing import compared, failing, targets
from bridge.wiring import Bridge


@click.group()
def routes() -> None:
    """路由规则 · The rules in routes.toml."""


@routes.command()
@click.argument("file")
@bots_option
@json_option
def test(file: str, bots: tuple[str, ...], as_json: bool) -> None:
    """一个事件会匹配哪些规则、发给谁、为什么 · Whom an event would be told to, and why.

    FILE: 文件、- 或示例名 · a file, - or a sample's name, e.g. crashlog. 不会发出 · Sends nothing.
    """
    body = body_of(file)
    with opened() as (bridge, terminal):
        names = bot_names(bots, bridge.settings.bots)
        events = decoded(body)
        zone = bridge.settings.timezone
        found = [(event, targets(event, bridge.routes, zone, names)) for event in events]
        if as_json:
            terminal.json([_as_json(bridge, event, told) for event, told in found])
        else:
            for event, told in found:
                _explain(bridge, terminal, event, told)
        missing = {t.template for _, told in found for t in told if not _is_there(bridge, t)}
        for template in sorted(missing):
            terminal.say(
                f"没有模板，将用事件自己的 · there is no template {template!r}: the event's own is"
                f" used",
                err=True,
            )
    if missing:
        raise click.exceptions.Exit(1)


def decoded(body: bytes) -> list[Event]:
    """Return the events in a body; without any, the command ends with exit code 1."""
    try:
        events = pgyer.decode(body, time.time())
    except (UndecodableError, TooLargeError) as error:
        raise click.ClickException(f"无法解析 · cannot be decoded: {error}") from None
    if not events:
        raise click.ClickException("空的，没有事件 · empty: there is no event in it")
    return events


def about(event: Event) -> str:
    """Name an event on one line: its type, app, version and device."""
    fields = event.fields
    build = f"({fields['build_version']})" if fields["build_version"] else ""
    parts = (fields["title"], fields["os_version"], build, fields["device_type"])
    said = " ".join(filter(None, parts))
    kind = event.type or "无类型 no type"
    return one_line(f"{kind} · {said}" if said else kind)


def _is_there(bridge: Bridge, target: Target) -> bool:
    return not target.template or bridge.renderer.knows(target.template)


def _judged(event: Event, rules: Sequence[Route]) -> Iterator[tuple[Route, str, list[str]]]:
    """Yield each rule with `matched`, `failed` or `not reached`, and the conditions that failed."""
    reached = True
    for rule in rules:
        failed = failing(event, rule) if reached else []
        state = "failed" if failed else "matched"
        yield rule, state if reached else "not reached", failed
        reached = reached and (bool(failed) or rule.continues)


def _explain(bridge: Bridge, terminal: Terminal, event: Event, told: Sequence[Target]) -> None:
    terminal.say(f"事件 Event: {about(event)}")
    if not bridge.routes:
        terminal.say("  没有规则，都发给 default · no rules: everything goes to default")
    judged = list(_judged(event, bridge.routes))
    for rule, state, failed in judged:
        said = {
            "matched": "✓ 匹配 matches" + ("，继续往下 and goes on" if rule.continues else ""),
            "failed": "✗ " + "; ".join(_why(event, rule, name) for name in failed),
            "not reached": "- 轮不到 not reached",
        }[state]
        terminal.say(f"  规则 rule {rule.rule}: {said}")
    if bridge.routes and not any(state == "matched" for _, state, _ in judged):
        terminal.say("  都不匹配，发给 default · nothing matches: it goes to default")
    for target in told:
        terminal.say(f"  → {target.bot}{''.join(_details(bridge, target))}")
    if not told:
        terminal.say("  → 谁也不通知 · nobody: it is muted")


def _why(event: Event, rule: Route, condition: str) -> str:
    values = " / ".join(dict.fromkeys(filter(None, compared(event, condition))))[:80]
    return f"{condition} = {one_line(values)}, 不是 not {' | '.join(rule.conditions[condition])}"


def _details(bridge: Bridge, target: Target) -> Iterator[str]:
    if target.mention:
        yield f"  提醒 mention {', '.join(target.mention)}"
    if target.template:
        yield f"  模板 template {target.template}"
    if target.attach:
        yield f"  附 attach {', '.join(target.attach)}"
    if target.not_before:
        end = datetime.fromtimestamp(target.not_before, bridge.settings.timezone)
        yield f"  免打扰到 quiet until {end:%m-%d %H:%M}"


def _as_json(bridge: Bridge, event: Event, told: Sequence[Target]) -> dict[str, Any]:
    return {
        "type": event.type,
        "rules": [
            {"rule": rule.rule, "result": state, "failed": failed}
            for rule, state, failed in _judged(event, bridge.routes)
        ],
        "bots": [
            {
                "bot": target.bot,
                "mention": target.mention,
                "template": target.template,
                "attach": target.attach,
                "quiet_until": target.not_before or None,
            }
            for target in told
        ],
    }
