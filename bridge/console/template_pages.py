"""The console's template pages, and what a template makes of an event while it is edited."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

from flask import Response, abort, g, render_template, request, send_file
from flask.typing import ResponseReturnValue

from bridge.console import template_help
from bridge.console.blueprint import console
from bridge.console.pages import find_event, id_from
from bridge.errors import TooLargeError, UndecodableError
from bridge.messages.file_names import msgtype_of
from bridge.messages.findings import Finding, merged
from bridge.messages.lint import lint_message
from bridge.messages.markdown import size
from bridge.messages.saving import MAX_SOURCE
from bridge.model import Event, Message, Target
from bridge.msgtypes import MSGTYPES, TEMPLATE_MSGTYPES, TEXT_LIMITS
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


@console.get("/templates")
def templates() -> ResponseReturnValue:
    return list_page()


@console.get("/templates/<file>")
def template(file: str) -> ResponseReturnValue:
    source, start = _source(file), request.args.get("start", "")
    starts = template_help.starts(bridge.renderer.folder_files)
    return template_page(file, starts.get(start, source), asked_event(file))


@console.post("/templates/<file>/preview")
def preview(file: str) -> ResponseReturnValue:
    """Answer the preview's button where there is no JavaScript."""
    _source(file)
    return template_page(file, _edited(), asked_event(file))


@console.post("/templates/preview")
def live_preview() -> ResponseReturnValue:
    file = request.form.get("file", "")
    _source(file)
    shown = _shown(_edited(), file, asked_event(file))
    parts = ("console/_preview.html", "console/_variables.html")
    return "".join(render_template(part, **shown) for part in parts)


@console.post("/templates/<file>/download")
def download(file: str) -> Response:
    _source(file)
    text = BytesIO(_edited().encode("utf-8", "replace"))
    return send_file(text, "text/plain", as_attachment=True, download_name=file)


def list_page(problems: Sequence[str] = ()) -> str:
    """Return the list of templates, with what is wrong with a new one."""
    renderer = bridge.renderer
    types, rules = defaultdict(list), defaultdict(list)  # that use a file
    for kind in bridge.queries.types():
        event = examples().get(kind) or Event(kind, {"type": kind}, 0.0)
        types[renderer.file_for(event)].append(kind)
    for route in bridge.routes:
        if route.template:
            rules[renderer.file_for(Event("", {}, 0.0), route.template)].append(route.rule)
    return render_template(
        "console/templates.html",
        folder=bridge.settings.templates,
        files=[(file, msgtype_of(file)) for file in renderer.files],
        in_folder=renderer.folder_files,
        saved=bridge.template_versions.texts(),
        broken=renderer.problems_by_file,
        types=types,
        rules=rules,
        starts=template_help.starts(renderer.folder_files),
        msgtypes=TEMPLATE_MSGTYPES,
        problems=problems,
    )


def template_page(file: str, source: str, asked: Asked, problems: Sequence[str] = ()) -> str:
    """Return a template's page with a text in its editor, and why that cannot be saved."""
    renderer, msgtype = bridge.renderer, msgtype_of(file)
    own, current = renderer.folder_files.get(file), renderer.files.get(file, "")
    g.shows_pictures = not msgtype or MSGTYPES[msgtype].shows_pictures
    versions = bridge.template_versions.of(file)
    return render_template(
        "console/template.html",
        file=file,
        msgtype=msgtype,
        source=source,
        current=current,
        seen=seen(file) if problems or source == current else request.form.get("seen", seen(file)),
        own=own,
        is_saved=file in bridge.template_versions.texts(),
        path=bridge.settings.templates / file,
        versions=[(v, template_help.difference(own or "", v.source)) for v in versions],
        broken=renderer.problems_by_file.get(file, ""),
        problems=problems,
        samples=examples(),
        recent=bridge.queries.events(Wanted(), limit=RECENT).events,
        payload=request.form.get("payload", ""),
        pasted=PASTED,
        starts=template_help.starts(renderer.folder_files, msgtype) if msgtype else {},
        filters=template_help.filters(file),
        **_shown(source, file, asked),
    )


def seen(file: str) -> str:
    """Return what tells whether a file's text has changed since its page was made."""
    text = bridge.renderer.files.get(file, "")
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _shown(source: str, file: str, asked: Asked) -> dict[str, Any]:
    """Return what the group would see if this were a file's text, and what can be inserted.

    These are the variables of `_preview.html` and `_variables.html`; sizes are in bytes.
    """
    message, findings = _previewed(source, file, asked)
    msgtype = msgtype_of(file) or msgtype_of(bridge.renderer.file_for(asked.event)) or "markdown"
    content = message and (message.body.get("content") or str(message.to_json()))
    return {
        "message": message,
        "used": size(content or ""),
        "limit": TEXT_LIMITS.get(message.msgtype if message else msgtype, 0),
        "findings": findings,
        "choice": asked.choice,
        "variables": template_help.variables(file, asked.event, asked.earlier),
        "meanings": template_help.MEANINGS,
    }


def _previewed(source: str, file: str, asked: Asked) -> tuple[Message | None, Sequence[Finding]]:
    """Return a draft's message, None if there is none, and what is wrong with it; never raises."""
    if asked.problem:
        return None, [Finding("pasted", values={"why": asked.problem})]
    renderer, event = bridge.renderer, asked.event
    findings = renderer.lint({**renderer.files, file: source}, [file], is_draft=True).get(file, [])
    made = renderer.draft(source, file, event, Target("default"), asked.earlier)
    if isinstance(made, Finding):
        return None, merged(made, findings)
    message, was_cut = made
    if not file.startswith("digest."):
        for finding in lint_message(event, message, was_cut):
            findings = merged(finding, findings)
    elif was_cut:
        findings = [*findings, Finding("rest_later")]
    return message, findings


def _source(file: str) -> str:
    """Return a file's text, or end the request with 404."""
    source = bridge.renderer.files.get(file)
    return abort(404, _("There is no template of that name.")) if source is None else source


def _edited() -> str:
    """Return the text in the editor, or end the request with 413."""
    source = typed_text()
    if size(source) > MAX_SOURCE:
        abort(413, _("A template has at most %(most)s bytes.", most=MAX_SOURCE))
    return source


def typed_text() -> str:
    """Return the text in the editor, however long."""
    # A form's text comes with CRLF line ends, whatever the file has.
    return request.form.get("source", "").replace("\r\n", "\n")


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
