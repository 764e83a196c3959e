"""The console's pages that only look: overview, events, one event, bots."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from flask import Blueprint, Response, abort, g, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from bridge.console import words
from bridge.console.chart import bars
from bridge.console.i18n import gettext as _
from bridge.console.ops import LATE
from bridge.messages import html as preview
from bridge.model import FIELDS, Event, Target, as_text
from bridge.msgtypes import MSGTYPES
from bridge.storage.queries import BotLine, DeliveryLine, Wanted
from bridge.wiring import Bridge

DAY = 86400.0  # seconds
PAGE = 50  # events
SHOWN_TEXT = 20_000  # characters of one value, and of a raw body
SHOWN_FIELDS = 100


@dataclass(frozen=True)
class Trouble:
    """Something that needs somebody, and what to do about it; `link` leads to where."""

    what: str
    advice: str
    link: str = ""


@dataclass(frozen=True)
class Shown:
    """A message as its group sees it, and the bots that are told it."""

    bots: Sequence[str]
    msgtype: str
    html: Markup


def add_pages(console: Blueprint, bridge: Bridge, clock: Callable[[], float]) -> None:
    """Add the pages to the console."""
    history, settings = bridge.queries, bridge.settings

    @console.get("/")
    def overview() -> ResponseReturnValue:
        now = clock()
        lines = history.bots(now)
        hours = history.per_hour(now)
        base = settings.public_url or request.url_root.rstrip("/")
        hook = f"{base}/pgyer/{settings.tokens[0].reveal()}"
        return render_template(
            "console/overview.html",
            troubles=troubles(bridge, lines, now),
            bots=lines,
            rate=settings.rate,
            now=now,
            chart=bars(hours),
            hook=hook,
            hooks={name: f"{hook}/{quote(name)}" for name in settings.bots},
        )

    @console.get("/events")
    def events() -> ResponseReturnValue:
        app, kind, bot, state, text = (
            request.args.get(name, "").strip()[:200]
            for name in ("app", "type", "bot", "state", "text")
        )
        wanted = Wanted(app, kind, bot, state, text)
        before = number(request.args.get("before", ""))
        page = history.events(wanted, before or None, PAGE)
        return render_template(
            "console/events.html",
            page=page,
            wanted=wanted,
            before=before,
            filters={key: value for key, value in vars(wanted).items() if value},
            types=history.types(),
            bots=sorted(settings.bots),
        )

    @console.get("/events/<id:event_id>")
    def event(event_id: int) -> ResponseReturnValue:
        found = history.event(event_id) or abort(404, _no_event(event_id))
        told = history.deliveries(event_id)
        shown = messages(bridge, found, told)
        g.shows_pictures = any(MSGTYPES[message.msgtype].shows_pictures for message in shown)
        return render_template(
            "console/event.html",
            event=found,
            fields=fields(found),
            raw=readable(found.raw),
            deliveries=told,
            messages=shown,
            bots=sorted(settings.bots),
        )

    @console.get("/events/<id:event_id>/raw")
    def raw(event_id: int) -> ResponseReturnValue:
        found = history.event(event_id) or abort(404, _no_event(event_id))
        name = f"event-{event_id}.bin"
        return Response(
            found.raw,
            mimetype="application/octet-stream",
            headers={"Content-Disposition": f"attachment; filename={name}"},
        )

    @console.get("/bots")
    def bots() -> ResponseReturnValue:
        now = clock()
        return render_template(
            "console/bots.html", bots=history.bots(now), rate=settings.rate, now=now
        )


def _no_event(event_id: int) -> str:
    return _(
        "There is no event %(id)s. It never was, or it is older than BRIDGE_RETENTION_DAYS.",
        id=event_id,
    )


def troubles(bridge: Bridge, lines: Sequence[BotLine], now: float) -> list[Trouble]:
    """Return what needs somebody, the gravest first."""
    found = []
    if bridge.settings.dispatch and not bridge.dispatcher.alive:
        found.append(
            Trouble(
                _("Nothing is being sent: the dispatcher does not run."),
                _("Start the bridge with gunicorn.conf.py, and look into its log."),
            )
        )
    for line in lines:
        if line.stopped:
            found.append(
                Trouble(
                    _(
                        "The bot %(name)s is stopped: %(why)s.",
                        name=line.name,
                        why=words.meaning(None, line.stopped),
                    ),
                    words.stopped_advice(line.name, line.stopped),
                    url_for("console.bots"),
                )
            )
    health = bridge.queries.health()
    if health.oldest and now - health.oldest > LATE:
        minutes = int(now - health.oldest) // 60
        found.append(
            Trouble(
                _("The oldest waiting delivery waits for %(minutes)s minutes.", minutes=minutes),
                _("See what its bot says."),
                url_for("console.events", state="pending"),
            )
        )
    untold = bridge.queries.untold(now - DAY)
    if count := untold.get("parked"):
        found.append(
            Trouble(
                _("WeCom refused deliveries in the last 24 hours: %(count)s.", count=count),
                _("Look at why, mend it, then try them again or mark them as done."),
                url_for("console.events", state="parked"),
            )
        )
    if count := untold.get("expired"):
        found.append(
            Trouble(
                _("Deliveries expired unsent in the last 24 hours: %(count)s.", count=count),
                _("Try again what still matters."),
                url_for("console.events", state="expired"),
            )
        )
    for file, problem in sorted(bridge.renderer.problems_by_file.items()):
        found.append(
            Trouble(
                _("A template is broken: %(problem)s", problem=problem),
                _("Its last good version is used, or a plain message. Mend the file."),
                url_for("console.template", file=file),
            )
        )
    return found


def messages(bridge: Bridge, event: Event, told: Sequence[DeliveryLine]) -> list[Shown]:
    """Return an event's messages by the templates of now, the bots that get the same together."""
    bots: dict[Target, list[str]] = {}
    for line in told:
        same = replace(line.target, bot="", not_before=0.0)
        bots.setdefault(same, [])
        if line.target.bot not in bots[same]:
            bots[same].append(line.target.bot)
    shown = []
    for target, names in (bots or {Target(""): []}).items():
        for message in bridge.renderer.messages(event, target):
            html = Markup(preview.to_html(message))
            shown.append(Shown(names, message.msgtype, html))
    return shown


def number(text: str) -> int:
    """Return an id from an address or a form, 0 where it is none that a database could hold."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


def fields(event: Event) -> dict[str, str]:
    """Return what came, the known fields first, each as text and none endless."""
    names = [name for name in FIELDS if name in event.payload]
    names += [name for name in event.payload if name not in names]
    return {name: _short(as_text(event.payload[name])) for name in names[:SHOWN_FIELDS]}


def readable(raw: bytes) -> str:
    """Return a raw body as text; what is no UTF-8 or a control character is escaped."""
    text = raw[: 4 * SHOWN_TEXT].decode("utf-8", "backslashreplace")[:SHOWN_TEXT]
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text.replace("\r\n", "\n")
    )


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}…"
