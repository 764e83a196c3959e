"""The rules of routes.toml in plain words, and why an event goes where it goes; pure.

For console and command alike, in the reader's language.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum

from bridge.model import NAMED, Event, Route, Target
from bridge.receiving.routing import TO_DEFAULT, compared, failing
from bridge.wording import N_, type_name
from bridge.wording import gettext as _

_MAX_VALUE = 80  # characters of an event's value
DEFAULT = TO_DEFAULT.bots[0]
_CONDITIONS = {
    "type": N_("type"),
    "app": N_("app name"),
    "device": N_("platform"),
    "version": N_("version"),
    "action": N_("action"),
}
_ATTACHMENTS = {"qrcode": N_("with the QR code"), "log": N_("the whole notes as a file if cut")}


class Result(StrEnum):
    """What became of a rule for an event."""

    MATCHED = "matched"
    FAILED = "failed"
    NOT_REACHED = "not reached"  # an earlier rule has decided


@dataclass(frozen=True)
class Checked:
    """A rule, what became of it for an event, and the names of the conditions that failed."""

    rule: Route
    result: Result
    failed: Sequence[str] = ()


def check_rules(event: Event, routes: Sequence[Route]) -> list[Checked]:
    """Return what becomes of each rule for an event."""
    found, is_decided = [], False
    for rule in routes:
        failed = [] if is_decided else failing(event, rule)
        result = Result.FAILED if failed else Result.MATCHED
        found.append(Checked(rule, Result.NOT_REACHED if is_decided else result, failed))
        is_decided = is_decided or (not failed and not rule.continues)
    return found


def rule_text(rule: Route) -> str:
    """Return a rule as a sentence: its number, which events it is for, what happens to them."""
    return _(
        "Rule %(number)s: %(events)s → %(effects)s",
        number=rule.rule,
        events=conditions_text(rule),
        effects=effects_text(rule),
    )


def default_text(routes: Sequence[Route]) -> str:
    """Return what happens to an event that no rule matches."""
    if not routes:
        return _("There are no rules: every event → %(bot)s", bot=DEFAULT)
    return _("None of them matches → %(bot)s", bot=DEFAULT)


def checked_text(event: Event, checked: Checked) -> str:
    """Return what became of a rule for an event, and why."""
    number = checked.rule.rule
    match checked.result:
        case Result.MATCHED if checked.rule.continues:
            return _("✓ Rule %(number)s matches, and so may the rules below", number=number)
        case Result.MATCHED:
            return _("✓ Rule %(number)s matches", number=number)
        case Result.NOT_REACHED:
            return _("– Rule %(number)s is not looked at: one above has decided", number=number)
    why = _("; ").join(_failure(event, checked.rule, name) for name in checked.failed)
    return _("✗ Rule %(number)s: %(why)s", number=number, why=why)


def routed_text(rules: Sequence[int | str] | None, is_muted: bool) -> str:
    """Return by which rules an event was routed, as `StoredEvent` has them; '' if not known."""
    if rules is None:
        return ""
    numbers = _(" and ").join(str(rule) for rule in rules if rule != NAMED)
    if NAMED in rules:
        if numbers:
            return _("The address named the bots; all else is by rule %(rules)s.", rules=numbers)
        return _("The address named the bots.")
    if not numbers:
        return _("No rule matched, so it went to %(bot)s.", bot=DEFAULT)
    if is_muted:
        return _("Rule %(rules)s sends it to nobody.", rules=numbers)
    return _("It was routed by rule %(rules)s.", rules=numbers)


def conditions_text(rule: Route) -> str:
    """Return which events a rule is for."""
    parts = []
    for name, globs in rule.conditions.items():
        text = N_("%(what)s is %(values)s")
        if _have_wildcards(globs):
            text = N_("%(what)s matches %(values)s")
        parts.append(_(text, what=_(_CONDITIONS[name]), values=_values(name, globs)))
    return _(" and ").join(parts) or _("every event")


def effects_text(rule: Route) -> str:
    """Return what a rule does with its events."""
    parts = [_(" and ").join(rule.bots) or _("not sent")]
    parts += _details(rule.mention, rule.template, rule.attach)
    if rule.quiet:
        begin, end = (f"{minute // 60:02}:{minute % 60:02}" for minute in rule.quiet)
        parts.append(_("delayed %(hours)s", hours=f"{begin}-{end}"))
    if rule.continues:
        parts.append(_("then the rules below"))
    return _(", ").join(parts)


def target_text(target: Target, zone: tzinfo) -> str:
    """Return how an event goes to a bot."""
    parts = [target.bot, *_details(target.mention, target.template, target.attach or None)]
    if target.not_before:
        until = datetime.fromtimestamp(target.not_before, zone).strftime("%m-%d %H:%M")
        parts.append(_("delayed until %(time)s", time=until))
    return _(", ").join(parts)


def _details(mention: Sequence[str], template: str, attach: Sequence[str] | None) -> Iterable[str]:
    if mention:
        names = [_("@all") if name == "@all" else f"@{name}" for name in mention]
        yield _("mentions %(names)s", names=" ".join(names))
    if template:
        yield _("template %(name)s", name=template)
    if attach is not None:
        yield from (_(_ATTACHMENTS[name]) for name in attach)
        if not attach:
            yield _("without attachments")


def _failure(event: Event, rule: Route, name: str) -> str:
    what, globs = _(_CONDITIONS[name]), rule.conditions[name]
    value = type_name(event.type) if name == "type" else compared(event, name)[0]
    if not value:
        return _("there is no %(what)s", what=what)
    text = N_("%(what)s is “%(value)s” and does not match %(values)s")
    if not _have_wildcards(globs):
        text = N_("%(what)s is “%(value)s”, not %(values)s")
    shown = " ".join(value.split())[:_MAX_VALUE]
    return _(text, what=what, value=shown, values=_values(name, globs))


def _values(name: str, globs: Sequence[str]) -> str:
    shown = map(type_name, globs) if name == "type" else globs
    return _(" or ").join(dict.fromkeys(shown))


def _have_wildcards(globs: Sequence[str]) -> bool:
    return any(re.search(r"[*?[]", glob) for glob in globs)
