"""What truly happened to an event: the rules that routed it, and the digests it was sent in."""

from collections.abc import Mapping, Sequence

from bridge.model import Route, StoredEvent, Verdict
from bridge.storage.queries import DeliveryLine, EventLine
from bridge.wiring import bridge


def rules_of(event: StoredEvent) -> list[Route]:
    """Return the rules that an event was routed by, as they are now."""
    return [rule for rule in bridge.routes if rule.rule in (event.rules or ())]


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
