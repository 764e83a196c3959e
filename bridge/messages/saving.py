"""Whether a text may be saved as a template: its file's name, its size, and a trial.

Problems are said in the reader's language.
"""

import re
from collections.abc import Collection, Mapping

from bridge.messages.file_names import name_finding, type_finding
from bridge.messages.findings import Finding
from bridge.messages.markdown import size
from bridge.messages.renderer import Renderer
from bridge.wording import gettext as _

MAX_SOURCE = 65_536  # bytes


def find_name_problem(file: str, existing: Collection[str]) -> str:
    """Return why a new file cannot have this name, '' if it can; case matters in all of it."""
    if same := [name for name in existing if name.lower() == file.lower()]:
        return _("There is a template %(name)s already: open it in the list.", name=same[0])
    if not re.fullmatch(r"[\w-][\w.-]{0,99}\.j2", file):
        return _(
            "%(name)s is no name of a template: letters, digits, “-” and “_”, "
            "and .<msgtype>.j2 at the end, e.g. crashlog.text.j2",
            name=file,
        )
    found = None if file.startswith("_") else name_finding(file) or type_finding(file)
    return found.located(file) if found and found.level == "error" else ""


def find_problems(renderer: Renderer, texts: Mapping[str, str | None]) -> dict[str, list[str]]:
    """Return what forbids to save these texts, or with None to remove, by the names of their files.

    A likely mistake does not, as long as it makes a message. Also named is another file that works
    now and would be broken by them.
    """
    unfit = {
        file: [problem] for file, text in texts.items() if (problem := _find_unfit(text or ""))
    }
    if unfit:
        return unfit
    found = renderer.try_texts(texts)
    own = {file: problem for file, problem in found.items() if file in texts}
    if own:
        return {file: [_said(problem, file)] for file, problem in own.items()}
    return {file: [problem.located(file)] for file, problem in found.items()}


def _find_unfit(source: str) -> str:
    if size(source) > MAX_SOURCE:
        return _("A template has at most %(most)s bytes.", most=MAX_SOURCE)
    return _("There is a NUL character in the text: take it out.") if "\0" in source else ""


def _said(problem: Finding, file: str) -> str:
    """Return what is wrong with its line, and with its file where that is another."""
    if problem.file:
        return problem.located(file)
    line = _("line %(line)s", line=problem.line) + " " if problem.line else ""
    return line + problem.text
