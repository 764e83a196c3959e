"""What people do by hand in the console; each is a POST that says what it did and leads back."""

from flask import Blueprint, abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from bridge.console.i18n import gettext as _
from bridge.console.pages import number
from bridge.model import Event
from bridge.storage.queries import DeliveryLine
from bridge.wiring import Bridge


def add_actions(console: Blueprint, bridge: Bridge) -> None:
    """Add the actions to the console."""
    history, repairs, known = bridge.queries, bridge.operator, bridge.settings.bots

    def done(text: str, event_id: int) -> ResponseReturnValue:
        flash(text)
        return redirect(url_for("console.event", event_id=event_id), 303)

    def existing(event_id: int) -> Event:
        return history.event(event_id) or abort(404, _("There is no such event."))

    def known_bot(name: str) -> str:
        return name if name in known else abort(404, _("There is no such bot."))

    def existing_delivery(delivery_id: int) -> DeliveryLine:
        """Return a delivery of the event whose page the form was on."""
        lines = history.deliveries(number(request.form.get("event", "")))
        own = (line for line in lines if line.id == delivery_id)
        return next(own, None) or abort(404, _("There is no such delivery."))

    @console.post("/events/<id:event_id>/send-again")
    def send_again(event_id: int) -> ResponseReturnValue:
        existing(event_id)
        told = dict.fromkeys(line.target.bot for line in history.deliveries(event_id))
        names = [name for name in told if name in known]
        if not names:
            text = _("This event was for no bot that is there now. Choose one to send it to.")
            return done(text, event_id)
        repairs.send_again(event_id)
        return done(_("It is sent again to %(bots)s.", bots=", ".join(names)), event_id)

    @console.post("/events/<id:event_id>/send-to")
    def send_to(event_id: int) -> ResponseReturnValue:
        existing(event_id)
        name = known_bot(request.form.get("bot", ""))
        repairs.send_again(event_id)
        return done(_("It is sent to %(bots)s.", bots=name), event_id)

    @console.post("/deliveries/<id:delivery_id>/retry")
    def retry(delivery_id: int) -> ResponseReturnValue:
        line = existing_delivery(delivery_id)
        if repairs.retry([delivery_id]):
            return done(_("It is tried again now."), line.event)
        text = _("Nothing was changed: only what is parked or expired can be tried again.")
        return done(text, line.event)

    @console.post("/deliveries/<id:delivery_id>/done")
    def mark_done(delivery_id: int) -> ResponseReturnValue:
        line = existing_delivery(delivery_id)
        if repairs.mark_done([delivery_id]):
            return done(_("It is marked as done."), line.event)
        text = _("Nothing was changed: only what waits or is parked can be marked as done.")
        return done(text, line.event)

    @console.post("/bots/<name>/test")
    def test(name: str) -> ResponseReturnValue:
        event_id = repairs.send_test(known_bot(name))
        text = _("A test message is on its way to %(bot)s; this is what became of it.", bot=name)
        return done(text, event_id)

    @console.post("/bots/<name>/resume")
    def resume(name: str) -> ResponseReturnValue:
        bridge.outbox.resume(known_bot(name))
        flash(_("%(bot)s is tried again now.", bot=name))
        return redirect(url_for("console.bots"), 303)
