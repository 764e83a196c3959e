"""With which event a template is previewed: a sample, a stored one, or JSON that was pasted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flask import request

from bridge.console.pages import find_event, id_from
from bridge.errors import TooLargeError, UndecodableError
from bridge.model import Event
from bridge.receiving.decoding import decode
from bridge.samples import example_for, examples, samples
from bridge.storage.queries import Wanted
from bridge.wiring import bridge
from bridge.wording import gettext as _
from bridge.wording import said

PASTED = "pasted"  # the choice of the form's own JSON
RECENT = 20  # stored events that are offered, and that a digest shows
_BUILDS = range(2080, 2092)  # of one app, in a digest


@dataclass(frozen=True)
class Asked:
    """The choice in the form, its event, and the `earlier` ones that a digest shows as well.

    `problem` says why pasted JSON cannot be decoded; the event is then an example.
    """

    choice: str
    event: Event
    earlier: Sequence[Event] = ()
    problem: str = ""


def asked_event(file: str, must_exist: bool = True) -> Asked:
    """Return what a request asks for: `event` (a sample's type, an id, PASTED), `id`, `payload`.

    Where a stored event `must_exist` and does not, the request ends with 404; otherwise an example
    is in its place.
    """
    example = example_for(file)
    choice = [example.type, *request.values.getlist("event")][-1]
    if choice == PASTED:
        asked = _pasted(example)
    else:
        choice = request.values.get("id", "").strip() or choice
        event = examples().get(choice) or bridge.queries.event(id_from(choice))
        if not event and must_exist:
            find_event(choice)
        asked = Asked(choice, event or example)
    if file.startswith("digest."):
        return replace(asked, earlier=[*_digest_events(), *asked.earlier])
    return replace(asked, earlier=())


def _pasted(example: Event) -> Asked:
    """Return the events of the pasted JSON, decoded as if Pgyer had posted it."""
    try:
        events = decode(request.form.get("payload", "").encode(), bridge.clock())
    except (UndecodableError, TooLargeError) as error:
        return Asked(PASTED, example, problem=said(error))
    if not events:
        return Asked(PASTED, example, problem=_("there is nothing in it"))
    *earlier, event = (replace(event, id=1) for event in events)  # as if they were stored
    return Asked(PASTED, event, earlier)


def _digest_events() -> list[Event]:
    """Return all samples, many builds of one app, and the stored events of late."""
    build = examples()["updateVersion"]
    stored = bridge.queries.events(Wanted(), limit=RECENT).events
    return [
        *(examples()[kind] for kind in samples()),
        *(replace(build, payload={**build.payload, "build_version": n}) for n in _BUILDS),
        *(Event(e.type, {**e.fields, "notes": e.brief}, e.received_at) for e in reversed(stored)),
    ]
