"""`bridge routes`: the rules in words; which of them match an event, and where it would go."""

from collections.abc import Sequence
from typing import Any

import click

from bridge.cli import common
from bridge.cli.terminal import Terminal, attributes
from bridge.model import Event, Target
from bridge.receiving import explain
from bridge.receiving.routing import route
from bridge.wiring import Bridge
from bridge.wording import N_
from bridge.wording import gettext as _


@click.group(invoke_without_command=True)
@click.pass_context
def routes(ctx: click.Context) -> None:
    """The rules in routes.toml, in words."""
    if ctx.invoked_subcommand:
        return
    with common.open_bridge(needs_keys=False) as (bridge, terminal):
        for rule in bridge.routes:
            terminal.say(explain.rule_text(rule))
        terminal.say(explain.default_text(bridge.routes))


@routes.command()
@click.argument("file")
@common.bots_option
@common.json_option
def test(file: str, bots: tuple[str, ...], as_json: bool) -> None:
    """Which bots would get an event, and why; sends nothing.

    FILE is a file, - or a sample's name, e.g. crashlog. Without any keys in the environment, every
    bot that a rule names counts as there.
    """
    body = common.read_body(file)
    with common.open_bridge(needs_keys=False) as (bridge, terminal):
        names = common.bot_names(bots, bridge.settings.bots)
        events = common.decode_body(body)
        zone = bridge.settings.timezone
        found = [(event, route(event, bridge.routes, zone, names).targets) for event in events]
        if as_json:
            terminal.json([_as_json(bridge, event, chosen) for event, chosen in found])
        else:
            for event, chosen in found:
                _explain(bridge, terminal, event, chosen)
        templates = {target.template for _, chosen in found for target in chosen} - {""}
        if templates:
            common.read_saved_templates(bridge)
        missing = sorted(name for name in templates if not bridge.renderer.knows(name))
        for name in missing:
            text = N_("there is no template %(name)r: the event's own is used")
            terminal.say(_(text, name=name), err=True)
    if missing:
        raise click.exceptions.Exit(1)


def _explain(bridge: Bridge, terminal: Terminal, event: Event, chosen: Sequence[Target]) -> None:
    terminal.say(f"{_('Event')}: {common.event_title(event)}")
    checked = explain.check_rules(event, bridge.routes)
    for one in checked:
        terminal.say(f"  {explain.checked_text(event, one)}")
    if not any(one.result is explain.Result.MATCHED for one in checked):
        terminal.say(f"  {explain.default_text(bridge.routes)}")
    for target in chosen:
        terminal.say(f"  → {explain.target_text(target, bridge.settings.timezone)}")
    if not chosen:
        terminal.say(f"  → {_('not sent')}")


def _as_json(bridge: Bridge, event: Event, chosen: Sequence[Target]) -> dict[str, Any]:
    names, zone = ["bot", "mention", "template", "attach"], bridge.settings.timezone
    return {
        "type": event.type,
        "rules": [
            {"rule": one.rule.rule, "result": one.result, "failed": one.failed}
            for one in explain.check_rules(event, bridge.routes)
        ],
        "bots": [
            {**attributes(target, names, zone), "quiet_until": target.not_before or None}
            for target in chosen
        ],
    }
