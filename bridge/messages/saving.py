"""Whether a text may be saved as a template: its file's name, its size, the lint, and a trial.

Problems are said in the reader's language.
"""

import difflib
import re
from collections.abc import Collection, Mapping

from bridge.messages import child
from bridge.messages.budget import TooCostlyError
from bridge.messages.child import ChildError
from bridge.messages.lint import Finding, lint
from bridge.messages.markdown import size
from bridge.messages.renderer import Renderer
from bridge.messages.template_files import describe, msgtype_of
from bridge.msgtypes import TEMPLATE_MSGTYPES
from bridge.wording import TYPES
from bridge.wording import gettext as _

MAX_SOURCE = 65_536  # bytes


def find_name_problem(file: str, existing: Collection[str]) -> str:
    """Return why a new file cannot have this name, '' if it can; case matters in all of it."""
    stem, _dot, msgtype = file.removesuffix(".j2").rpartition(".")
    if same := [name for name in existing if name.lower() == file.lower()]:
        return _("There is a template %(name)s already: open it in the list.", name=same[0])
    if not re.fullmatch(r"[\w-][\w.-]{0,99}\.j2", file):
        return _(
            "%(name)s is no name of a template: letters, digits, “-” and “_”, "
            "and .<msgtype>.j2 at the end, e.g. crashlog.text.j2",
            name=file,
        )
    if file.startswith("_"):
        return ""
    if not msgtype_of(file):
        close = difflib.get_close_matches(msgtype.lower(), TEMPLATE_MSGTYPES, 1) if stem else []
        if close:
            right = f"{stem}.{close[0]}.j2"
            return _("%(name)s has an unknown msgtype: write %(right)s", name=file, right=right)
        known = ", ".join(TEMPLATE_MSGTYPES)
        return _(
            "%(name)s has no msgtype: end it in .<msgtype>.j2 (%(known)s)", name=file, known=known
        )
    for kind in TYPES:
        if kind.lower() == stem.lower() and kind != stem:
            right = f"{kind}.{msgtype}.j2"
            return _("%(name)s would never be used: write %(right)s", name=file, right=right)
    return ""


def find_problems(renderer: Renderer, texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Return what forbids to save these texts, by the names of their files.

    Also named is another file that works now and would be broken by them.
    """
    found = {file: _find_errors(file, source) for file, source in texts.items()}
    found = {file: errors for file, errors in found.items() if errors}
    if found:
        return found
    return {file: [problem] for file, problem in renderer.try_texts(texts).items()}


def _find_errors(file: str, source: str) -> list[str]:
    if size(source) > MAX_SOURCE:
        return [_("A template has at most %(most)s bytes.", most=MAX_SOURCE)]
    if "\0" in source:
        return [_("There is a NUL character in the text: take it out.")]
    msgtype = msgtype_of(file)
    name = file.removesuffix(f".{msgtype}.j2") if msgtype else ""
    try:
        found = [Finding(*each) for each in child.run(lint, source, msgtype or "markdown", name)]
    except TooCostlyError as error:
        return [describe(file, error)]
    except ChildError as error:
        return [str(error)]
    return [
        _said(finding) for finding in (Finding(*each) for each in found) if finding.level == "error"
    ]


def _said(finding: Finding) -> str:
    line = _("line %(line)s", line=finding.line) + " " if finding.line else ""
    return line + _(finding.text, **finding.values or {})
