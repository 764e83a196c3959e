"""What the template pages change: a text is saved, put back, or begun anew. No file is written."""

from collections.abc import Sequence

from flask import abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from bridge.console import template_help
from bridge.console.blueprint import console
from bridge.console.pages import id_from
from bridge.console.template_pages import asked_event, list_page, seen, template_page, typed_text
from bridge.messages.saving import find_name_problem, find_problems
from bridge.samples import example_for
from bridge.wiring import bridge
from bridge.wording import TYPES
from bridge.wording import gettext as _


@console.post("/templates/<file>/save")
def save(file: str) -> ResponseReturnValue:
    files = bridge.renderer.files
    if file not in files and find_name_problem(file, files):
        abort(404, _("There is no template of that name."))
    return _save(file, typed_text(), _("%(file)s is saved.", file=file))


@console.post("/templates/<file>/restore")
def restore(file: str) -> ResponseReturnValue:
    """Use the folder's text again, or that of a `version`."""
    versions = bridge.template_versions.of(file)
    wanted = request.form.get("version", "")
    found = [version for version in versions if version.id == id_from(wanted)]
    if not versions or (wanted and not found):
        abort(404, _("There is no such version."))
    if found and found[0].source is not None:
        return _save(file, found[0].source, _("The former version is used again."))
    if problems := _problems(file, bridge.renderer.folder_files.get(file)):
        return _refuse(file, bridge.renderer.files.get(file, ""), problems)
    bridge.template_versions.save({file: None})
    if file in bridge.renderer.files:
        flash(_("The file's own text is used again, from the next message on."))
        return redirect(url_for("console.template", file=file), 303)
    flash(_("%(file)s is removed.", file=file))
    return redirect(url_for("console.templates"), 303)


@console.post("/templates/new")
def new_template() -> ResponseReturnValue:
    """Make a template of this `name`, which begins as a copy of `start` or of what fits best."""
    file, files = request.form.get("name", "").strip(), bridge.renderer.files
    if file and not file.lower().endswith(".j2"):
        file += ".j2"
    if problem := find_name_problem(file, files):
        return list_page([problem]), 422
    starts = template_help.starts(bridge.renderer.folder_files)
    start = starts.get(request.form.get("start", "")) or template_help.best_start(file, starts)
    if problems := _problems(file, start):
        return list_page(problems), 422
    bridge.template_versions.save({file: start})
    flash(_("%(file)s was created. Now edit it.", file=file))
    name = file.removesuffix(".j2")
    if not file.startswith("_") and name.rpartition(".")[0] not in TYPES:
        flash(_('A rule in routes.toml uses it by template = "%(name)s".', name=name))
    return redirect(url_for("console.template", file=file), 303)


def _save(file: str, source: str, done: str) -> ResponseReturnValue:
    """Save a text that is sound; otherwise show the page with the text, and what is wrong."""
    problems, is_used = _problems(file, source), bridge.renderer.files.get(file) == source
    if not is_used and request.form.get("seen", seen(file)) != seen(file):
        text = _(
            "This template was changed after this page was opened: see the list “Versions” below. "
            "To replace that text by yours, save again."
        )
        problems = [*problems, text]
    if problems:
        return _refuse(file, source, problems)
    if is_used:
        flash(_("This text is in use already."))
    else:
        bridge.template_versions.save({file: source})
        flash(f"{done} {_('It is used from the next message on.')}")
    asked = asked_event(file, must_exist=False)
    if asked.choice != example_for(file).type or request.form.get("payload"):
        return template_page(file, source, asked)  # no address could hold what was pasted
    return redirect(url_for("console.template", file=file), 303)


def _refuse(file: str, source: str, problems: Sequence[str]) -> ResponseReturnValue:
    return template_page(file, source, asked_event(file, must_exist=False), problems), 422


def _problems(file: str, source: str | None) -> list[str]:
    found = find_problems(bridge.renderer, {file: source})
    return [problem for problems in found.values() for problem in problems]
