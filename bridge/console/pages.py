"""The console's read-only pages: overview, events, one event, bots."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from urllib.parse import quote

from flask import abort, g, render_template, request, send_file
from flask.typing import ResponseReturnValue

from bridge.console.blueprint import console
from bridge.model import (
    FIELDS,
    LATE,
    Event,
    Message,
    Route,
    StoredEvent,
    Target,
    Verdict,
    as_text,
    is_private,
)
from bridge.msgtypes import MSGTYPES
from bridge.receiving import explain
from bridge.storage.queries import BotLine, DeliveryLine, EventLine, FirstSteps, Wanted
from bridge.wiring import bridge
from bridge.wording import gettext as _

DAY = 86400.0  # seconds
PAGE = 50  # events
SHOWN_TEXT = 20_000  # characters of a raw body
SHOWN_FIELDS = 100
SHOWN_SILENT = 5  # apps
CAUGHT_UP = 7 * DAY  # seconds in which builds that were found by asking are shown


@console.get("/")
def overview() -> ResponseReturnValue:
    settings, queries, now = bridge.settings, bridge.queries, bridge.clock()
    wrong, health = bridge.wrong_tokens.total(), queries.health()
    late = now - health.oldest if health.oldest else 0.0
    base = settings.public_url or request.url_root.rstrip("/")
    hook = f"{base}/pgyer/{settings.tokens[0].reveal()}"
    return render_template(
        "console/overview.html",
        is_sending=is_sending(),
        minutes_late=int(late) // 60 if late > LATE else 0,
        unsent=queries.unsent_counts(now - DAY),
        wrong=wrong if wrong.last_at > now - DAY else None,
        broken=bridge.renderer.problems_by_file,
        bots=bot_lines(),
        latest=queries.latest_event(),
        silent=queries.silent_apps(now)[:SHOWN_SILENT],
        rate=settings.rate,
        edited=sorted(bridge.template_versions.texts()),
        hours=queries.per_hour(now),
        steps=_first_steps(now),
        pgyer=bridge.pgyer and bridge.pgyer.state(),
        caught_up=queries.missing_builds(now - CAUGHT_UP) if bridge.pgyer else (),
        hook=hook,
        is_private=is_private(hook),
        hooks={name: f"{hook}/{quote(name)}" for name in settings.bots},
    )


def _first_steps(now: float) -> FirstSteps | None:
    """Return what a new deployment has done, None once it has done everything before."""
    if bridge.shared.was_done("set up", now):
        return None
    steps = bridge.queries.first_steps()
    if steps.has_event and "default" in steps.bots:
        # Retention may delete what shows it.
        bridge.shared.take_turn("set up", 0.0, now)
        return None
    return steps


@console.get("/events")
def events() -> ResponseReturnValue:
    names = ("app", "type", "bot", "state", "text")
    given = {n: request.args.get(n, "").replace("\0", "").strip()[:200] for n in names}
    wanted = Wanted(**given, since=0.0)
    before = id_from(request.args.get("before", ""))
    return render_template(
        "console/events.html",
        page=bridge.queries.events(wanted, before or None, PAGE),
        wanted=wanted,
        before=before,
        filters={name: text for name, text in given.items() if text},
        types=filter(None, bridge.queries.types()),
        bots=in_order(bridge.settings.bots),
    )


@console.get("/events/<int:event_id>")
def event(event_id: int) -> ResponseReturnValue:
    found = find_event(event_id)
    deliveries = bridge.queries.deliveries(event_id)
    shown = rendered(found, deliveries)
    g.shows_pictures = any(MSGTYPES[message.msgtype].shows_pictures for _, message in shown)
    return render_template(
        "console/event.html",
        event=found,
        fields=fields(found),
        raw=readable(found.raw),
        deliveries=deliveries,
        rules=[rule for rule in bridge.routes if rule.rule in (found.rules or ())],  # as now
        quiet_rule=quiet_rule,
        explain=explain,
        digests=digests(deliveries),
        conditions={bot.name: bot for bot in bot_lines()},
        is_sending=is_sending(),
        messages=shown,
        bots=in_order(bridge.settings.bots),
    )


@console.get("/events/<int:event_id>/raw")
def raw(event_id: int) -> ResponseReturnValue:
    body, name = BytesIO(find_event(event_id).raw), f"event-{event_id}.bin"
    return send_file(body, "application/octet-stream", as_attachment=True, download_name=name)


@console.get("/bots")
def bots() -> ResponseReturnValue:
    return render_template("console/bots.html", bots=bot_lines(), rate=bridge.settings.rate)


def find_event(asked: int | str) -> StoredEvent:
    """Return a stored event by its id or what was typed as one, or end the request with 404."""
    text = _("There is no event %(id)s; perhaps it is older than BRIDGE_RETENTION_DAYS.", id=asked)
    return bridge.queries.event(id_from(str(asked))) or abort(404, text)


def bot_lines() -> Sequence[BotLine]:
    """Return every bot's condition: those in trouble first, then as people count their names.

    Among them are those that were taken out of the settings, while deliveries wait for them.
    """
    now = bridge.clock()
    found = bridge.queries.bots(now, with_removed=True)
    return sorted(found, key=lambda bot: (_trouble(bot, now), _natural(bot.name)))


def _trouble(bot: BotLine, now: float) -> int:
    if bot.stopped:
        return 0
    if bot.rest_until > now:
        return 1 if bot.failures else 2
    return 3 if bot.last_reason in ("", "ok") else 2


def in_order(names: Iterable[str]) -> list[str]:
    """Return names as people count them: `team_2` before `team_10`, and `default` before all."""
    return sorted(names, key=lambda name: (name != "default", _natural(name)))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which numbers in names are compared as numbers."""
    parts = re.split("([0-9]+)", name)
    return [(int(part or 0), "") if n % 2 else (0, part) for n, part in enumerate(parts)]


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


def is_sending() -> bool:
    """Return whether the dispatcher runs; where this process has none, it is taken for granted."""
    return bridge.dispatcher.alive or not bridge.settings.dispatch


def rendered(event: Event, deliveries: Sequence[DeliveryLine]) -> list[tuple[list[str], Message]]:
    """Return an event's messages by the current templates, each with the bots that get it."""
    bots: dict[Target, dict[str, None]] = {}  # the inner one is an ordered set
    for line in deliveries:
        same = replace(line.target, bot="", not_before=0.0)
        bots.setdefault(same, {})[line.target.bot] = None
    return [
        (list(names), message)
        for target, names in (bots or {Target(""): {}}).items()
        for message in bridge.renderer.messages(event, target, is_look=True)
    ]


def id_from(text: str) -> int:
    """Return an id from an address or a form, also as `#58`; 0 where a database cannot have it."""
    text = text.strip().removeprefix("#")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


def fields(event: Event) -> dict[str, str]:
    """Return the payload as text, the known fields first, and no more than SHOWN_FIELDS."""
    known = (name for name in FIELDS if name in event.payload)
    names = list(dict.fromkeys([*known, *event.payload]))[:SHOWN_FIELDS]
    return {name: as_text(event.payload[name]) for name in names}


def readable(raw: bytes) -> str:
    """Return a raw body as text; bytes that are not UTF-8 and control characters are escaped."""
    text = raw[: 4 * SHOWN_TEXT].decode("utf-8", "backslashreplace")[:SHOWN_TEXT]
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text.replace("\r\n", "\n")
    )
