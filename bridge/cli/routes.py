"""`bridge routes test`: which rules match an event, and which bots it would go to."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from bridge.cli import common
from bridge.cli.terminal import Terminal, attributes, local_time, one_line
from bridge.model import Event, Route, Target
from bridge.receiving.routing import compared, failing, targets
from bridge.wiring import Bridge
from bridge.wording import N_
from bridge.wording import gettext as _


@click.group()
def routes() -> None:
    """The rules in routes.toml."""


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
        found = [(event, targets(event, bridge.routes, zone, names)) for event in events]
        if as_json:
            terminal.json([_as_json(bridge, event, chosen) for event, chosen in found])
        else:
            for event, chosen in found:
                _explain(bridge, terminal, event, chosen)
        templates = {target.template for _, chosen in found for target in chosen} - {""}
        missing = sorted(name for name in templates if not bridge.renderer.knows(name))
        for name in missing:
            text = N_("there is no template %(name)r: the event's own is used")
            terminal.say(_(text, name=name), err=True)
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
    terminal.say(_("Event: %(event)s", event=common.event_title(event)))
    if not bridge.routes:
        terminal.say("  " + _("no rules: everything goes to default"))
    results = list(_results(event, bridge.routes))
    for rule, result, failed in results:
        text = {
            "matched": "✓ " + (_("matches, and goes on") if rule.continues else _("matches")),
            "failed": "✗ " + "; ".join(_why(event, rule, name) for name in failed),
            "not reached": "- " + _("not reached"),
        }[result]
        terminal.say("  " + _("rule %(number)s: %(text)s", number=rule.rule, text=text))
    if bridge.routes and "matched" not in [result for _rule, result, _failed in results]:
        terminal.say("  " + _("nothing matches: it goes to default"))
    for target in chosen:
        until = local_time(target.not_before, bridge.settings.timezone)
        details = {
            _("mention"): ", ".join(target.mention),
            _("template"): target.template,
            _("attach"): ", ".join(target.attach),
            _("quiet until"): until if target.not_before else "",
        }
        shown = (f"  {name} {value}" for name, value in details.items() if value)
        terminal.say(f"  → {target.bot}{''.join(shown)}")
    if not chosen:
        terminal.say("  → " + _("nobody: it is muted"))


def _why(event: Event, rule: Route, condition: str) -> str:
    values = " / ".join(dict.fromkeys(filter(None, compared(event, condition))))[:80]
    wanted = " | ".join(rule.conditions[condition])
    text = N_("%(condition)s = %(value)s, not %(wanted)s")
    return _(text, condition=condition, value=one_line(values), wanted=wanted)


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
