"""What is wrong with a template, as a code with values; `wording.toml` has the texts; pure."""

import ast
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jinja2 import TemplateNotFound, TemplateRuntimeError, TemplateSyntaxError, UndefinedError

from bridge import wording

_TAGS = (
    "if", "elif", "else", "endif", "for", "endfor", "set", "endset", "import", "from", "include",
    "macro", "endmacro", "call", "endcall", "filter", "endfilter", "with", "endwith", "raw",
    "endraw", "block", "endblock", "extends",
)  # fmt: skip
_CLOSING = ("elif", "else", *(tag for tag in _TAGS if tag.startswith("end")))
# Jinja2's names of tokens.
_TOKENS = {
    "begin of print statement": "{{",
    "end of print statement": "}}",
    "begin of statement block": "{%",
    "end of statement block": "%}",
    "end of comment": "#}",
    "string": "'…'",
    "integer": "123",
    "float": "1.5",
}
# Jinja2's messages: their groups are the values of the finding. The first that matches is used.
_SYNTAX = tuple(
    (re.compile(pattern, re.DOTALL), code)
    for pattern, code in (
        (r"Unexpected end of template.* closed is '(?P<tag>\w+)'", "unclosed_block"),
        (r"unknown tag '(?P<name>\w+)'(?:.* closed is '(?P<tag>\w+)')?", "unknown_tag"),
        (r"tag name expected", "no_tag"),
        (r"unexpected end of template, expected '(?P<expected>.+)'", "unfinished"),
        (r"expected token '(?P<expected>.+)', got 'end of template'", "unfinished"),
        (r"expected token '(?P<expected>.+)', got '{'", "unfinished"),
        (r"expected token 'end of statement block', got '='", "single_equals"),
        (r"expected token 'end of print statement', got '(?P<got>.+)'", "two_values"),
        (r"expected token 'name', got '(?P<got>.+)'|expected name or number", "no_name"),
        (r"expected token '(?P<expected>.+)', got '(?P<got>.+)'", "expected"),
        (r"Expected an expression, got '(?P<got>.+)'", "no_value"),
        (r"unexpected '(?P<got>end of (?:print statement|statement block))'", "no_value"),
        (r"unexpected '(?P<got>.+)', expected '(?P<expected>.+)'", "expected"),
        (r"unexpected '(?P<got>.+)'", "unexpected"),
        (r"unexpected char (?P<char>.+) at \d+", "unexpected_char"),
        (r"Missing end of comment", "unclosed_comment"),
        (r"No filter named '(?P<name>.+)'", "unknown_filter"),
        (r"No test named '(?P<name>.+)'", "unknown_test"),
        (r"(?P<problem>.*)", "syntax"),
    )
)  # fmt: skip
_TWINS = str.maketrans("“”„‟「」『』‘’‚‛、。", '"' * 8 + "'" * 4 + ",.")
_NO_NAME = re.compile(r"(?:no attribute|requested name) '(\w+)'|'(\w+)' is undefined")


class Finding(NamedTuple):
    """A remark about a template; `line` is 0 where it is about the whole file or message.

    `file` is that of another file, such as a helper, in which the line is.
    """

    code: str
    line: int = 0
    values: Mapping[str, Any] = {}  # nothing changes it, and JSON can hold it
    file: str = ""

    @property
    def level(self) -> str:
        """Return `error`, `warning` or `note`; an error costs the message or shows wrong text."""
        return wording.LEVELS[self.code]

    @property
    def text(self) -> str:
        """Return what is wrong and what to write, in the reader's language."""
        return wording.finding(self.code, self.values)

    def where(self, file: str) -> str:
        """Return `file:line`, the finding being one of this file."""
        return f"{self.file or file}:{self.line}" if self.line else self.file or file

    def located(self, file: str) -> str:
        """Return `file:line: what is wrong`."""
        return f"{self.where(file)}: {self.text}"

    def neutral(self, file: str) -> str:
        """Return `file:line: code` with its values, which no language changes."""
        values = [f"{key}={value}" for key, value in self.values.items() if value != ""]
        return " ".join([f"{self.where(file)}: {self.code}", *values])


class NoMessageError(TemplateRuntimeError, ValueError):
    """A template makes no message of an event; `code` and `values` are those of a finding."""

    def __init__(self, code: str, **values: Any) -> None:
        self.code, self.values = code, values
        with wording.speaking("en"):
            super().__init__(wording.finding(code, values))


def finding_of(error: Exception, file: str = "") -> Finding:
    """Return what an error in a file says, the line being the template's own."""
    if isinstance(error, TemplateSyntaxError):
        code, values = _syntax(error.message or "")
        other = error.filename or error.name or file
        return Finding(code, error.lineno, values, other if other != file else "")
    line, trace = 0, error.__traceback__
    while trace:
        filename = trace.tb_frame.f_code.co_filename
        if filename == "<template>" or filename.endswith(".j2"):
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, NoMessageError):
        return Finding(error.code, line, error.values)
    if isinstance(error, TemplateNotFound):
        return Finding("no_such_file", line, {"name": str(error.name)})
    if isinstance(error, OSError):
        return Finding("unreadable", line, {"why": error.strerror or repr(error)})
    name = _NO_NAME.search(str(error)) if isinstance(error, UndefinedError) else None
    if name:
        return Finding("no_such_name", line, {"name": name[1] or name[2]})
    return Finding("failed", line, {"error": repr(error)})


def _syntax(message: str) -> tuple[str, Mapping[str, str]]:
    """Return the code and the values of one of Jinja2's messages."""
    matches = ((code, pattern.search(message)) for pattern, code in _SYNTAX)
    code, values = next((code, found.groupdict()) for code, found in matches if found)
    values = {key: _TOKENS.get(text, text) for key, text in values.items() if text}
    if code == "unknown_tag" and values["name"] in _CLOSING:
        code = "wrong_nesting" if "tag" in values else "stray_tag"
    elif code == "unknown_tag":
        values["close"] = wording.nearest(values["name"], _TAGS)
    if code == "unexpected_char":
        values["char"] = char = str(ast.literal_eval(values["char"]))
        values["half"] = half(char)
        code = "fullwidth" if values["half"] else "unclosed_quote" if char in "'\"" else code
    return code, values


def half(char: str) -> str:
    """Return the ASCII twin of a full-width or Chinese sign, '' for any other character."""
    found = unicodedata.normalize("NFKC", char.translate(_TWINS))
    return found if len(found) == 1 and found.isascii() and not char.isascii() else ""


def merged(first: Finding, others: Sequence[Finding]) -> list[Finding]:
    """Return what a trial and the linter found, without what both did."""
    known = {(one.code, one.line) for one in others}
    return [*([] if (first.code, first.line) in known else [first]), *others]
