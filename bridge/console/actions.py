"""The console's buttons: each POST changes something, says so, and leads back to a page."""

from flask import Blueprint, abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from bridge.console.i18n import gettext as _
from bridge.console.pages import find_event, id_from
from bridge.storage.queries import DeliveryLine
from bridge.wiring import Bridge


def add_actions(console: Blueprint, bridge: Bridge) -> None:
    """Add the actions to the console."""
    queries, operator, known = bridge.queries, bridge.operator, bridge.settings.bots

    def done(text: str, event_id: int) -> ResponseReturnValue:
        flash(text)
        return redirect(url_for("console.event", event_id=event_id), 303)

    def known_bot(name: str) -> str:
        return name if name in known else abort(404, _("There is no such bot."))

    def find_delivery(delivery_id: int) -> DeliveryLine:
        """Return a delivery of the event whose page the form was on."""
        lines = queries.deliveries(id_from(request.form.get("event", "")))
        own = (line for line in lines if line.id == delivery_id)
        return next(own, None) or abort(404, _("There is no such delivery."))

    @console.post("/events/<id:event_id>/send-again")
    def send_again(event_id: int) -> ResponseReturnValue:
        find_event(bridge, event_id)
        bots = dict.fromkeys(line.target.bot for line in queries.deliveries(event_id))
        names = [name for name in bots if name in known]
        if not names:
            text = _("No bot of this event exists any more. Choose one to send it to.")
            return done(text, event_id)
        operator.send_again(event_id, names)
        return done(_("It is sent again to %(bots)s.", bots=", ".join(names)), event_id)

    @console.post("/events/<id:event_id>/send-to")
    def send_to(event_id: int) -> ResponseReturnValue:
        find_event(bridge, event_id)
        name = known_bot(request.form.get("bot", ""))
        operator.send_again(event_id, [name])
        return done(_("It is sent to %(bots)s.", bots=name), event_id)

    @console.post("/deliveries/<id:delivery_id>/retry")
    def retry(delivery_id: int) -> ResponseReturnValue:
        line = find_delivery(delivery_id)
        text = _("Nothing was changed: only failed or expired deliveries can be tried again.")
        if operator.retry([delivery_id]):
            text = _("It is tried again now.")
        return done(text, line.event)

    @console.post("/deliveries/<id:delivery_id>/done")
    def mark_done(delivery_id: int) -> ResponseReturnValue:
        line = find_delivery(delivery_id)
        text = _("Nothing was changed: only waiting or failed deliveries can be marked as done.")
        if operator.mark_done([delivery_id]):
            text = _("It is marked as done.")
        return done(text, line.event)

    @console.post("/bots/<name>/test")
    def test(name: str) -> ResponseReturnValue:
        event_id = operator.send_test(known_bot(name))
        return done(_("A test message is sent to %(bot)s.", bot=name), event_id)

    @console.post("/bots/<name>/resume")
    def resume(name: str) -> ResponseReturnValue:
        bridge.outbox.resume(known_bot(name))
        flash(_("%(bot)s is tried again now.", bot=name))
        return redirect(url_for("console.bots"), 303)
