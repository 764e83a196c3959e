"""The console's buttons: each POST changes something, says so, and leads back to a page."""

from flask import abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from bridge.console.blueprint import console
from bridge.console.pages import find_event, id_from
from bridge.wiring import bridge
from bridge.wording import gettext as _


@console.post("/events/<int:event_id>/send-again")
def send_again(event_id: int) -> ResponseReturnValue:
    find_event(event_id)
    bots = dict.fromkeys(line.target.bot for line in bridge.queries.deliveries(event_id))
    names = [name for name in bots if name in bridge.settings.bots]
    if not names:
        return _done(_("No bot of this event exists any more. Choose one to send it to."), event_id)
    bridge.operator.send_again(event_id, names)
    return _done(_("Sending again to %(bots)s.", bots=", ".join(names)), event_id)


@console.post("/events/<int:event_id>/send-to")
def send_to(event_id: int) -> ResponseReturnValue:
    find_event(event_id)
    name = _known_bot(request.form.get("bot", ""))
    bridge.operator.send_again(event_id, [name])
    return _done(_("Sending to %(bots)s.", bots=name), event_id)


@console.post("/deliveries/<int:delivery_id>/retry")
def retry(delivery_id: int) -> ResponseReturnValue:
    event_id = _event_of(delivery_id)
    text = _("Nothing was changed: only failed or expired deliveries can be tried again.")
    if bridge.operator.retry([delivery_id]):
        text = _("It is tried again now.")
    return _done(text, event_id)


@console.post("/deliveries/<int:delivery_id>/done")
def mark_done(delivery_id: int) -> ResponseReturnValue:
    event_id = _event_of(delivery_id)
    text = _("Nothing was changed: only waiting or failed deliveries can be marked as done.")
    if bridge.operator.mark_done([delivery_id]):
        text = _("It is marked as done.")
    return _done(text, event_id)


@console.post("/bots/<name>/test")
def test(name: str) -> ResponseReturnValue:
    text = _("A test message is sent to %(bot)s.", bot=name)
    return _done(text, bridge.operator.send_test(_known_bot(name)))


@console.post("/bots/<name>/resume")
def resume(name: str) -> ResponseReturnValue:
    bridge.outbox.resume(_known_bot(name))
    flash(_("%(bot)s is tried again now.", bot=name))
    return redirect(url_for("console.bots"), 303)


def _done(text: str, event_id: int) -> ResponseReturnValue:
    flash(text)
    return redirect(url_for("console.event", event_id=event_id), 303)


def _known_bot(name: str) -> str:
    return name if name in bridge.settings.bots else abort(404, _("There is no such bot."))


def _event_of(delivery_id: int) -> int:
    """Return the event whose page the form was on, or end the request with 404.

    The delivery has to be one of that event's.
    """
    event_id = id_from(request.form.get("event", ""))
    if delivery_id not in (line.id for line in bridge.queries.deliveries(event_id)):
        abort(404, _("There is no such delivery."))
    return event_id
