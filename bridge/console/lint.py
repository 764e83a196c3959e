"""A linter of templates for WeCom's dialects: what each msgtype shows (document 91770); pure."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC
from itertools import islice
from typing import NamedTuple

from jinja2 import DictLoader, Environment, TemplateSyntaxError, meta, nodes

from bridge.messages.environment import BridgeEnvironment
from bridge.model import FIELDS, Event, Message
from bridge.wording import N_

_KNOWN = {*FIELDS, "payload", "event", "mention"}
_KNOWN_DIGEST = {"total", "groups", "console", "mention"}
_MAX_FINDINGS = 20
_VALUE = "\ufffc"  # in the skeleton, in the place of each `{{ }}`

# Possessive, and no construct contains its own opening: so each takes time linear in the text.
_NOT_SHOWN = {
    "markdown": (
        (r"^[^\S\n]*+(?:[-+*]|\d++[.)])[^\S\n]++\S", N_("a list: WeCom shows its marks as typed")),
        (r"!\[[^\[\]\n]*+\]\([^()\n]*+\)", N_("a picture: only markdown_v2 shows one in the text")),
        (r"^[^\S\n]*+\|.*\|[^\S\n]*+$", N_("a table: only markdown_v2 shows one")),
        (r"^[^\S\n]*+```", N_("a block of code: only markdown_v2 shows one")),
        (r"(?<![*\w])\*[^*\s](?:[^*\n]*[^*\s])?\*(?!\*)", N_("italics: only markdown_v2 has them")),
        (
            r"^[^\S\n]*+(?:-{3,}+|\*{3,}+|_{3,}+)[^\S\n]*+$",
            N_("a rule: only markdown_v2 shows one"),
        ),
    ),
    "markdown_v2": (
        (r"</?font\b", N_("a colour: only markdown shows one")),
        (r"<@", N_("a mention: markdown_v2 has none; use {{ mention }}")),
    ),
    "text": (
        (
            r"\*\*\S|`[^`\n]++`|^#{1,6} |^> |\[[^\[\]\n]++\]\([^()\n]++\)|</?font\b"
            r"|^[^\S\n]*+```|!\[",
            N_("markup: text shows it as typed"),
        ),
    ),
}
_USELESS_FILTERS = {"markdown_v2": {"color"}, "text": {"color", "quote"}}


class Finding(NamedTuple):
    """A remark about a template; `level` is error, warning or note, `line` 0 without one."""

    level: str
    text: str
    line: int = 0
    values: Mapping[str, str] | None = None


def lint(source: str, msgtype: str, name: str) -> list[Finding]:
    """Return findings on a template's text by line; a syntax error comes alone."""
    environment = BridgeEnvironment(msgtype, UTC, DictLoader({}))
    try:
        tree = environment.parse(source)
        found = [
            *_unknown(environment, tree, _KNOWN_DIGEST if name == "digest" else _KNOWN),
            *_not_shown(_skeleton(environment, source), msgtype),
            *_useless(tree, msgtype),
        ]
    except TemplateSyntaxError as error:
        found = [Finding("error", "%(problem)s", error.lineno, {"problem": str(error.message)})]
    return sorted(found, key=lambda finding: finding.line)[:_MAX_FINDINGS]


def lint_message(event: Event, message: Message, was_cut: bool) -> list[Finding]:
    """Return what a rendered message lacks."""
    found = []
    if was_cut:
        found.append(Finding("note", N_("long values were shortened so that the message fits")))
    link = event.fields["link"]
    if link and link not in json.dumps(message.to_json(), ensure_ascii=False):
        found.append(Finding("warning", N_("there is no link to the app's page: use link")))
    return found


def _skeleton(environment: Environment, source: str) -> str:
    """Return the template's own text, line by line, with a mark in place of each value."""
    parts, lines = [], 0
    for line, kind, value in environment.lex(source):
        text = value if kind == "data" else _VALUE if kind == "variable_begin" else ""
        parts.append("\n" * (line - 1 - lines) + text)  # the lexer drops what `-` strips
        lines = max(lines, line - 1) + text.count("\n")
    return "".join(parts)


def _not_shown(skeleton: str, msgtype: str) -> Iterator[Finding]:
    for pattern, text in _NOT_SHOWN.get(msgtype, ()):
        for match in islice(re.finditer(pattern, skeleton, re.MULTILINE), _MAX_FINDINGS):
            at = match.end() - len(match[0].lstrip())
            yield Finding("warning", text, skeleton.count("\n", 0, at) + 1)


def _unknown(environment: Environment, tree: nodes.Template, known: set[str]) -> Iterator[Finding]:
    unknown = meta.find_undeclared_variables(tree) - known - environment.globals.keys()
    lines: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.name in unknown:
            lines.setdefault(node.name, node.lineno)
    for name in sorted(lines, key=lambda name: (lines[name], name))[:_MAX_FINDINGS]:
        close = difflib.get_close_matches(name, known, 1)
        text = N_("%(name)s is no variable: it will be empty")
        if close:
            text = N_("%(name)s is no variable: did you mean %(close)s?")
        values = {"name": name, "close": close[0] if close else ""}
        yield Finding("warning", text, lines[name], values)


def _useless(tree: nodes.Template, msgtype: str) -> Iterator[Finding]:
    for node in tree.find_all(nodes.Filter):
        if node.name in _USELESS_FILTERS.get(msgtype, ()):
            text = N_("the filter %(name)s does nothing in this msgtype")
            if node.name == "quote":
                text = N_("the filter %(name)s shows as typed in this msgtype")
            yield Finding("note", text, node.lineno, {"name": node.name})
