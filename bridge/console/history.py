"""What truly happened to an event: how it was routed, and in which digest it was sent."""

from collections.abc import Mapping, Sequence

from bridge.model import NAMED, Route, Verdict
from bridge.receiving import explain
from bridge.storage.queries import DeliveryLine, EventLine, Reception
from bridge.wiring import bridge
from bridge.wording import gettext as _


def routed_text(reception: Reception, is_muted: bool) -> str:
    """Return by which rules an event was routed; '' where that is not known."""
    if reception.rules is None:
        return ""
    numbers = _(" and ").join(str(rule) for rule in reception.rules if rule != NAMED)
    if NAMED in reception.rules:
        if numbers:
            return _("The address named the bots; all else is by rule %(rules)s.", rules=numbers)
        return _("The address named the bots.")
    if not numbers:
        return _("No rule matched, so it went to %(bot)s.", bot=explain.DEFAULT)
    if is_muted:
        return _("Rule %(rules)s sends it to nobody.", rules=numbers)
    return _("It was routed by rule %(rules)s.", rules=numbers)


def rules_of(reception: Reception) -> list[Route]:
    """Return the rules that an event was routed by, as they are now."""
    return [rule for rule in bridge.routes if rule.rule in (reception.rules or ())]


def quiet_rule(line: DeliveryLine, rules: Sequence[Route]) -> Route | None:
    """Return the rule whose quiet hours delay a delivery; None where it is not known any more."""
    names_it = (rule for rule in rules if rule.quiet and line.target.bot in rule.bots)
    return next(names_it, None) or next((rule for rule in rules if rule.quiet), None)


def digests(deliveries: Sequence[DeliveryLine]) -> Mapping[int, Sequence[EventLine]]:
    """Return the events of each digest that these deliveries were sent in, by its attempt's id."""
    return {
        attempt.id: bridge.queries.events_of_attempt(attempt.id)
        for line in deliveries
        for attempt in line.attempts
        if attempt.verdict == Verdict.SENT and attempt.count > 1
    }
