"""The console's template pages, and the preview of a template while it is edited."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from flask import Blueprint, Response, abort, g, render_template, request, send_file
from flask.typing import ResponseReturnValue

from bridge.console.lint import Finding, lint, lint_message
from bridge.console.pages import find_event, id_from
from bridge.messages import child
from bridge.messages.budget import TooCostlyError
from bridge.messages.child import ChildError
from bridge.messages.markdown import size
from bridge.messages.renderer import DraftError
from bridge.messages.template_files import describe, msgtype_of
from bridge.model import Event, Message, Target
from bridge.msgtypes import MSGTYPES, TEXT_LIMITS
from bridge.samples import example_for, examples
from bridge.storage.queries import Wanted
from bridge.wiring import Bridge
from bridge.wording import gettext as _

MAX_SOURCE = 65_536  # characters of a template that is previewed
RECENT = 20  # stored events that the page offers by name


@dataclass(frozen=True)
class Result:
    """A draft applied to an event: the message, if it makes one, its size in bytes, findings."""

    message: Message | None
    used: int
    limit: int
    findings: Sequence[Finding]


def add_template_pages(console: Blueprint, bridge: Bridge) -> None:
    """Add the template pages and the preview to the console."""
    renderer, folder = bridge.renderer, bridge.settings.templates

    @console.get("/templates")
    def templates() -> ResponseReturnValue:
        return render_template("console/templates.html", files=files(bridge), folder=folder)

    @console.get("/templates/<file>")
    def template(file: str) -> ResponseReturnValue:
        source = known(file)
        choice = asked() or example_for(file).type
        g.shows_pictures = not msgtype_of(file) or MSGTYPES[msgtype_of(file)].shows_pictures
        return render_template(
            "console/template.html",
            file=file,
            msgtype=msgtype_of(file),
            source=source,
            path=folder / file,
            choice=choice,
            samples=examples(),
            recent=bridge.queries.events(Wanted(), limit=RECENT).events,
            result=previewed(bridge, source, file, chosen(choice)),
        )

    @console.post("/templates/preview")
    def live_preview() -> ResponseReturnValue:
        file = request.form.get("file", "")
        known(file)
        result = previewed(bridge, edited(), file, chosen(asked()))
        return render_template("console/_preview.html", result=result)

    @console.post("/templates/<file>/download")
    def download(file: str) -> Response:
        known(file)
        text = BytesIO(edited().encode("utf-8", "replace"))
        return send_file(text, "text/plain", as_attachment=True, download_name=file)

    def known(file: str) -> str:
        source = renderer.files.get(file)
        return abort(404, _("There is no template of that name.")) if source is None else source

    def edited() -> str:
        # A form's text comes with CRLF line ends, whatever the file has.
        source = request.form.get("source", "").replace("\r\n", "\n")
        if len(source) > MAX_SOURCE:
            abort(413, _("A template has at most %(most)s characters.", most=MAX_SOURCE))
        return source

    def asked() -> str:
        return request.values.get("id", "") or request.values.get("event", "")

    def chosen(choice: str) -> Event:
        return examples().get(choice) or find_event(bridge, id_from(choice))


def files(bridge: Bridge) -> list[dict[str, Any]]:
    """Return every file in the folder of templates, with what is wrong with it and what uses it."""
    renderer, kinds = bridge.renderer, bridge.queries.types()
    wrong = renderer.problems_by_file
    used = {kind: renderer.file_for(Event(kind, {"type": kind}, 0.0)) for kind in kinds}
    named = {
        route.rule: renderer.file_for(Event("", {}, 0.0), route.template)
        for route in bridge.routes
        if route.template
    }
    return [
        {
            "name": name,
            "msgtype": msgtype_of(name),
            "problem": wrong.get(name, ""),
            "types": [kind for kind, file in used.items() if file == name],
            "rules": [rule for rule, file in named.items() if file == name],
        }
        for name in renderer.files
    ]


def previewed(bridge: Bridge, source: str, file: str, event: Event) -> Result:
    """Return what the group would see if this were a file's text; never raises."""
    renderer = bridge.renderer
    msgtype = msgtype_of(file)
    dialect = msgtype or msgtype_of(renderer.file_for(event)) or "markdown"
    name = file.removesuffix(f".{msgtype}.j2") if msgtype else ""
    findings: list[Finding] = []
    try:
        lints = child.run(lint, source, dialect, name)
        findings += [Finding(**found) for found in lints]
        message, was_cut = renderer.draft(source, file, event, Target("default"))
    except (DraftError, TooCostlyError, ChildError) as error:
        if not any(finding.level == "error" for finding in findings):
            problem = describe(file, error) if isinstance(error, TooCostlyError) else str(error)
            findings.insert(0, Finding("error", "%(problem)s", 0, {"problem": problem}))
        return Result(None, 0, TEXT_LIMITS.get(dialect, 0), findings)
    if name != "digest":
        findings += lint_message(event, message, was_cut)
    used = size(message.body.get("content") or str(message.to_json()))
    return Result(message, used, TEXT_LIMITS.get(message.msgtype, 0), findings)
