"""The console's buttons: each POST changes something, says so, and leads back to a page."""

from flask import Blueprint, abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from bridge.console.pages import find_event, id_from
from bridge.wiring import Bridge
from bridge.wording import gettext as _


def add_actions(console: Blueprint, bridge: Bridge) -> None:
    """Add the actions to the console."""
    operator, known = bridge.operator, bridge.settings.bots

    def done(text: str, event_id: int) -> ResponseReturnValue:
        flash(text)
        return redirect(url_for("console.event", event_id=event_id), 303)

    def known_bot(name: str) -> str:
        return name if name in known else abort(404, _("There is no such bot."))

    @console.post("/events/<id:event_id>/send-again")
    def send_again(event_id: int) -> ResponseReturnValue:
        find_event(bridge, event_id)
        bots = (line.target.bot for line in bridge.queries.deliveries(event_id))
        names = [name for name in dict.fromkeys(bots) if name in known]
        text = _("No bot of this event exists any more. Choose one to send it to.")
        if names:
            operator.send_again(event_id, names)
            text = _("It is sent again to %(bots)s.", bots=", ".join(names))
        return done(text, event_id)

    @console.post("/events/<id:event_id>/send-to")
    def send_to(event_id: int) -> ResponseReturnValue:
        find_event(bridge, event_id)
        name = known_bot(request.form.get("bot", ""))
        operator.send_again(event_id, [name])
        return done(_("It is sent to %(bots)s.", bots=name), event_id)

    @console.post("/deliveries/<id:delivery_id>/retry")
    def retry(delivery_id: int) -> ResponseReturnValue:
        event_id = event_of(bridge, delivery_id)
        text = _("Nothing was changed: only failed or expired deliveries can be tried again.")
        if operator.retry([delivery_id]):
            text = _("It is tried again now.")
        return done(text, event_id)

    @console.post("/deliveries/<id:delivery_id>/done")
    def mark_done(delivery_id: int) -> ResponseReturnValue:
        event_id = event_of(bridge, delivery_id)
        text = _("Nothing was changed: only waiting or failed deliveries can be marked as done.")
        if operator.mark_done([delivery_id]):
            text = _("It is marked as done.")
        return done(text, event_id)

    @console.post("/bots/<name>/test")
    def test(name: str) -> ResponseReturnValue:
        text = _("A test message is sent to %(bot)s.", bot=name)
        return done(text, operator.send_test(known_bot(name)))

    @console.post("/bots/<name>/resume")
    def resume(name: str) -> ResponseReturnValue:
        bridge.outbox.resume(known_bot(name))
        flash(_("%(bot)s is tried again now.", bot=name))
        return redirect(url_for("console.bots"), 303)


def event_of(bridge: Bridge, delivery_id: int) -> int:
    """Return the event whose page the form was on, or end the request with 404.

    The delivery has to be one of that event's.
    """
    event_id = id_from(request.form.get("event", ""))
    if delivery_id not in (line.id for line in bridge.queries.deliveries(event_id)):
        abort(404, _("There is no such delivery."))
    return event_id
