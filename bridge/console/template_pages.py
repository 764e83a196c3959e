"""The console's template pages, and the preview of a template while it is edited."""

from collections import defaultdict
from io import BytesIO
from typing import Any

from flask import Response, abort, g, render_template, request, send_file
from flask.typing import ResponseReturnValue

from bridge.console.blueprint import console
from bridge.console.pages import find_event, id_from
from bridge.messages.file_names import msgtype_of
from bridge.messages.findings import merged
from bridge.messages.lint import lint_message
from bridge.messages.markdown import size
from bridge.messages.renderer import DraftError
from bridge.model import Event, Target
from bridge.msgtypes import MSGTYPES, TEXT_LIMITS
from bridge.samples import example_for, examples
from bridge.storage.queries import Wanted
from bridge.wiring import bridge
from bridge.wording import gettext as _

MAX_SOURCE = 65_536  # characters of a template that is previewed
RECENT = 20  # stored events that the page offers by name


@console.get("/templates")
def templates() -> ResponseReturnValue:
    renderer = bridge.renderer
    types, rules = defaultdict(list), defaultdict(list)  # that use a file
    for kind in bridge.queries.types():
        types[renderer.file_for(Event(kind, {"type": kind}, 0.0))].append(kind)
    for route in bridge.routes:
        if route.template:
            rules[renderer.file_for(Event("", {}, 0.0), route.template)].append(route.rule)
    return render_template(
        "console/templates.html",
        folder=bridge.settings.templates,
        files=[(file, msgtype_of(file)) for file in renderer.files],
        problems=renderer.problems_by_file,
        types=types,
        rules=rules,
    )


@console.get("/templates/<file>")
def template(file: str) -> ResponseReturnValue:
    source, msgtype = _source(file), msgtype_of(file)
    choice = _asked() or example_for(file).type
    g.shows_pictures = not msgtype or MSGTYPES[msgtype].shows_pictures
    return render_template(
        "console/template.html",
        file=file,
        msgtype=msgtype,
        source=source,
        path=bridge.settings.templates / file,
        choice=choice,
        samples=examples(),
        recent=bridge.queries.events(Wanted(), limit=RECENT).events,
        **previewed(source, file, _chosen(choice)),
    )


@console.post("/templates/preview")
def live_preview() -> ResponseReturnValue:
    file = request.form.get("file", "")
    _source(file)
    return render_template("console/_preview.html", **previewed(_edited(), file, _chosen(_asked())))


@console.post("/templates/<file>/download")
def download(file: str) -> Response:
    _source(file)
    text = BytesIO(_edited().encode("utf-8", "replace"))
    return send_file(text, "text/plain", as_attachment=True, download_name=file)


def _source(file: str) -> str:
    """Return a file's text, or end the request with 404."""
    source = bridge.renderer.files.get(file)
    return abort(404, _("There is no template of that name.")) if source is None else source


def _edited() -> str:
    # A form's text comes with CRLF line ends, whatever the file has.
    source = request.form.get("source", "").replace("\r\n", "\n")
    if len(source) > MAX_SOURCE:
        abort(413, _("A template has at most %(most)s characters.", most=MAX_SOURCE))
    return source


def _asked() -> str:
    return request.values.get("id", "") or request.values.get("event", "")


def _chosen(choice: str) -> Event:
    return examples().get(choice) or find_event(id_from(choice))


def previewed(source: str, file: str, event: Event) -> dict[str, Any]:
    """Return what the group would see if this were a file's text: variables of `_preview.html`.

    The `message`, None if there is none; its size in bytes and the `limit`; findings. Never raises.
    """
    renderer, msgtype = bridge.renderer, msgtype_of(file)
    dialect = msgtype or msgtype_of(renderer.file_for(event)) or "markdown"
    message, used = None, 0
    findings = renderer.lint({**renderer.files, file: source}, [file]).get(file, [])
    try:
        message, was_cut = renderer.draft(source, file, event, Target("default"))
    except DraftError as error:
        findings = merged(error.finding, findings)
    else:
        dialect, used = message.msgtype, size(message.body.get("content") or str(message.to_json()))
        if not file.startswith("digest."):
            for finding in lint_message(event, message, was_cut):
                findings = merged(finding, findings)
    limit = TEXT_LIMITS.get(dialect, 0)
    return {"message": message, "used": used, "limit": limit, "findings": findings}
