"""Whether a text may be saved as a template: the name of its file, its size, the lint, a trial."""

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
from bridge.wording import N_, TYPES

MAX_SOURCE = 65_536  # bytes


def find_name_problem(file: str, existing: Collection[str]) -> Finding | None:
    """Return why a new file cannot have this name, None if it can; case matters in all of it."""
    values = {"name": file, "msgtypes": ", ".join(TEMPLATE_MSGTYPES)}
    same = [name for name in existing if name.lower() == file.lower()]
    stem, _, msgtype = file.removesuffix(".j2").rpartition(".")
    if same:
        values["close"] = same[0]
        return _error(N_("There is a template %(close)s already: open it in the list."), values)
    if not re.fullmatch(r"[\w-][\w.-]{0,99}\.j2", file):
        text = N_(
            "%(name)s is no name of a template: letters, digits, “-” and “_”, "
            "and .<msgtype>.j2 at the end, e.g. crashlog.text.j2"
        )
        return _error(text, values)
    if file.startswith("_"):
        return None
    if not msgtype_of(file):
        close = difflib.get_close_matches(msgtype.lower(), TEMPLATE_MSGTYPES, 1) if stem else []
        values["close"] = f"{stem}.{close[0]}.j2" if close else ""
        if close:
            return _error(N_("%(name)s has an unknown msgtype: write %(close)s"), values)
        return _error(N_("%(name)s has no msgtype: end it in .<msgtype>.j2 (%(msgtypes)s)"), values)
    kinds = [kind for kind in TYPES if kind.lower() == stem.lower() and kind != stem]
    if kinds:
        values["close"] = f"{kinds[0]}.{msgtype}.j2"
        return _error(N_("%(name)s would never be used: write %(close)s"), values)
    return None


def find_problems(renderer: Renderer, texts: Mapping[str, str]) -> dict[str, list[Finding]]:
    """Return what forbids to save these texts, by the names of their files.

    Also named is another file that works now and would be broken by them.
    """
    found = {file: _find_errors(file, source) for file, source in texts.items()}
    found = {file: errors for file, errors in found.items() if errors}
    if not found:
        for file, problem in renderer.try_texts(texts).items():
            found[file] = [_error("%(problem)s", {"problem": problem})]
    return found


def _find_errors(file: str, source: str) -> list[Finding]:
    if size(source) > MAX_SOURCE:
        values = {"most": str(MAX_SOURCE)}
        return [_error(N_("A template has at most %(most)s bytes."), values)]
    if "\0" in source:
        return [_error(N_("There is a NUL character in the text: take it out."), {})]
    msgtype = msgtype_of(file)
    try:
        name = file.removesuffix(f".{msgtype}.j2") if msgtype else ""
        found = child.run(lint, source, msgtype or "markdown", name)
    except TooCostlyError as error:
        return [_error("%(problem)s", {"problem": describe(file, error)})]
    except ChildError as error:
        return [_error("%(problem)s", {"problem": str(error)})]
    return [finding for finding in (Finding(*each) for each in found) if finding.level == "error"]


def _error(text: str, values: Mapping[str, str]) -> Finding:
    return Finding("error", text, 0, values)
