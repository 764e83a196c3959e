"""The page of routes: the rules in plain words, and any event tried against them."""

from collections.abc import Sequence
from typing import Any

from flask import render_template, request
from flask.typing import ResponseReturnValue

from bridge.console.blueprint import console
from bridge.console.pages import find_event
from bridge.model import NAMED, Event, StoredEvent
from bridge.receiving import explain
from bridge.receiving.intake import read
from bridge.receiving.routing import route
from bridge.storage.queries import Wanted
from bridge.wiring import bridge

RECENT = 20  # stored events that the page offers by name
TRIED = 20  # events of one body that are shown


@console.get("/routes")
def routes() -> ResponseReturnValue:
    choice = request.args.get("id", "").strip() or request.args.get("event", "")
    return _page([find_event(choice)] if choice else [], choice=choice)


@console.post("/routes")
def try_body() -> ResponseReturnValue:
    body = request.form.get("body", "")
    events = read(body.encode("utf-8", "replace"), bridge.clock())
    return _page(events[:TRIED], body=body, was_empty=not events)


def _page(events: Sequence[Event], **more: object) -> ResponseReturnValue:
    return render_template(
        "console/routes.html",
        file=bridge.settings.routes,
        rules=bridge.routes,
        explain=explain,
        trials=[_trial(event) for event in events],
        recent=bridge.queries.events(Wanted(), limit=RECENT).events,
        **more,
    )


def _trial(event: Event) -> dict[str, Any]:
    """Return what becomes of an event: of each rule, and its targets with their template's file."""
    zone = bridge.settings.timezone
    targets = [
        (explain.target_text(target, zone), bridge.renderer.file_for(event, target.template))
        for target in route(event, bridge.routes, zone).targets
    ]
    return {
        "event": event,
        "checked": explain.check_rules(event, bridge.routes),
        "targets": targets,
        "was_named": isinstance(event, StoredEvent) and NAMED in (event.rules or ()),
    }
