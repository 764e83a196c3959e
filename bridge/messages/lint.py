"""A linter of templates, by their texts and their files' names; pure, in time linear in the text.

What each msgtype shows is that of document 91770. `wording.toml` says which finding is an error.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC
from itertools import islice

from jinja2 import DictLoader, Environment, meta, nodes

from bridge.messages.environment import COLORS, BridgeEnvironment
from bridge.messages.file_names import msgtype_of, name_finding, type_finding
from bridge.messages.findings import Finding, finding_of, half
from bridge.model import FIELDS, Event, Message, to_json
from bridge.msgtypes import MSGTYPES
from bridge.wording import nearest

_KNOWN = {*FIELDS, "payload", "event", "mention", "build"}
_KNOWN_DIGEST = {"total", "groups", "hidden", "console", "mention"}
# What else people call a variable.
_MEANT = {
    "app": "title", "app_name": "title", "name": "title", "应用": "title", "标题": "title",
    "version": "os_version", "版本": "os_version", "版本号": "os_version", "build": "build_version",
    "构建": "build_version", "platform": "device_type", "device": "device_type",
    "平台": "device_type", "size": "appsize", "大小": "appsize", "url": "link", "链接": "link",
    "description": "notes", "changelog": "notes", "更新说明": "notes", "说明": "notes",
    "time": "updated", "date": "updated", "时间": "updated", "提醒": "mention",
}  # fmt: skip
OWN_EVENTS = ("digest", "test", "expired", "botStopped", "undecodable")  # which have no link
_MAX_FINDINGS = 20  # of one file
_GRAVITY = ("error", "warning", "note")
_VALUE = "\ufffc"  # in the skeleton, in the place of each `{{ }}`

# Possessive, and no construct contains its own opening: so each takes time linear in the text.
_NOT_SHOWN = {
    "markdown": (
        (r"^[^\S\n]*+(?:[-+*]|\d++[.)])[^\S\n]++\S", "list"),
        (r"!\[[^\[\]\n]*+\]\([^()\n]*+\)", "picture"),
        (r"^[^\S\n]*+\|.*\|[^\S\n]*+$", "table"),
        (r"^[^\S\n]*+```", "code"),
        (r"(?<![*\w])\*[^*\s](?:[^*\n]*[^*\s])?\*(?!\*)", "italics"),
        (r"^[^\S\n]*+(?:-{3,}+|\*{3,}+|_{3,}+)[^\S\n]*+$", "rule"),
    ),
    "markdown_v2": ((r"</?font\b", "color"),),
    "text": (
        (
            r"\*\*\S|`[^`\n]++`|^#{1,6} |^> |\[[^\[\]\n]++\]\([^()\n]++\)|</?font\b"
            r"|^[^\S\n]*+```|!\[",
            "markup",
        ),
    ),
}
_SINGLE_BRACES = re.compile(
    r"(?<![{｛])[{｛]++\s*+(?P<name>[^\W\d]\w*+)\s*+(?:[|｜][^{}｛｝\n]*+)?[}｝]++"
)
_FULL_WIDTH_TAG = re.compile(r"[{｛]％|｛%|％[}｝]|%｝")
_HTML = re.compile(r"</?(?P<tag>[A-Za-z][A-Za-z0-9]*+)(?=[\s/>])[^<>\n]*+>")
_TAGS = {
    **dict.fromkeys(("br", "p", "div", "hr", "li", "ul", "ol", "tr"), "html_break"),
    **dict.fromkeys(("b", "strong", *(f"h{n}" for n in range(1, 7))), "html_bold"),
    "a": "html_link",
    **dict.fromkeys(
        ("span", "i", "em", "u", "s", "del", "img", "table", "td", "th", "code", "pre", "small",
         "big", "center", "sup", "sub", "blockquote", "script", "style"), "html_other",
    ),
}  # fmt: skip
_FONT = re.compile(rf'<font color="(?P<color>[^"<>\n]*+|{_VALUE})">')
_EVERYBODY = r"(?:all|everyone)(?![\w.-])|所有人|全体成员|全体|大家"
_MENTION = re.compile(
    rf"(?<![\w.@＠/-])(?:[@＠](?:(?P<all>{_EVERYBODY})|[^\W\d_][\w.-]*+|1\d{{10}}(?!\w))"
    rf"|<[@＠](?:(?P<inline_all>{_EVERYBODY})|(?P<who>[^<>\s]++))>)",
    re.IGNORECASE,
)
_USERID = re.compile(rf"(?!1\d{{10}}$)[A-Za-z0-9][A-Za-z0-9_.@-]*|.*{_VALUE}.*")
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*+"?')
_USELESS = {
    ("markdown_v2", "color"): "useless_filter",
    ("text", "color"): "useless_filter",
    ("text", "quote"): "quote_filter",
}


def lint(
    files: Mapping[str, str],
    names: Iterable[str] | None = None,
    routed: Collection[str] = (),
) -> dict[str, list[Finding]]:
    """Return what is wrong with a folder's templates, by file; files without a finding are absent.

    `files` has all texts by name, `names` limits the work to some of them; `routed` are the
    templates that routes name. Never raises.
    """
    found = {file: _lint_file(file, files, routed) for file in (files if names is None else names)}
    return {file: findings for file, findings in found.items() if findings}


def lint_message(event: Event, message: Message, was_cut: bool) -> list[Finding]:
    """Return what a rendered message lacks."""
    found = [Finding("cut")] if was_cut else []
    link = event.fields["link"]
    if link and link not in to_json(message.to_json()):
        found.append(Finding("no_link"))
    return found


def _lint_file(file: str, files: Mapping[str, str], routed: Collection[str]) -> list[Finding]:
    """Return what is wrong with one file, by line; a syntax error comes alone."""
    source, msgtype = files[file], msgtype_of(file)
    name = file.removesuffix(f".{msgtype}.j2")
    of_name = name_finding(file) or (type_finding(file, routed) if msgtype else None)
    found = [of_name] if of_name else []
    known = _KNOWN_DIGEST if name == "digest" else _KNOWN
    if not msgtype:  # a helper
        msgtype, known = _users_msgtype(file, files), _KNOWN | _KNOWN_DIGEST
    try:
        found += _lint_text(source, msgtype, known)
    except Exception as error:  # whatever Jinja2 raises at odd texts
        found.append(finding_of(error, file))
    else:
        needs_link = bool(msgtype_of(file)) and name not in OWN_EVENTS and source.strip()
        if needs_link and not _has_link(file, files):
            found.append(Finding("no_link"))
    found.sort(key=lambda finding: _GRAVITY.index(finding.level))
    return sorted(found[:_MAX_FINDINGS], key=lambda finding: finding.line)


def _users_msgtype(helper: str, files: Mapping[str, str]) -> str:
    """Return the msgtype of the templates that name a helper, '' where they have several."""
    msgtypes = {msgtype_of(file) for file, source in files.items() if helper in source} - {""}
    return msgtypes.pop() if len(msgtypes) == 1 else ""


def _has_link(file: str, files: Mapping[str, str]) -> bool:
    """Return whether a template, or a helper that it names, uses the link to the app's page."""
    helpers = [name for name in files if name.startswith("_") and name in files[file]]
    return any(re.search(r"\b(?:link|payload)\b", files[name]) for name in (file, *helpers))


def _lint_text(source: str, msgtype: str, known: set[str]) -> list[Finding]:
    """Return what is wrong with a text; without a msgtype it may be for any. Raises as Jinja2."""
    environment = BridgeEnvironment(msgtype or "markdown", UTC, DictLoader({}))
    tree = environment.parse(source)
    skeleton = _skeleton(environment, source)
    is_json = bool(msgtype) and environment.is_json
    found = [
        *_filters(environment, tree, msgtype),
        *_variables(environment, tree, known),
        *_typed_code(skeleton, known - {"build"}),
        *_html(skeleton, msgtype),
        *(_quoted(skeleton) if is_json else _not_shown(skeleton, msgtype)),
        *_mentions(skeleton, msgtype),
    ]
    parts = (nodes.Include, nodes.Extends, nodes.CallBlock)
    if msgtype and not skeleton.strip() and not any(tree.find_all(parts)):
        found.append(Finding("blank"))
    return found


def _skeleton(environment: Environment, source: str) -> str:
    """Return the template's own text, line by line, with a mark in place of each value."""
    parts, lines = [], 0
    for line, kind, value in environment.lex(source):
        text = value if kind == "data" else _VALUE if kind == "variable_begin" else ""
        parts.append("\n" * (line - 1 - lines) + text)  # the lexer drops what `-` strips
        lines = max(lines, line - 1) + text.count("\n")
    return "".join(parts)


def _matches(pattern: re.Pattern[str], skeleton: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Yield the first matches, each with its line."""
    for match in islice(pattern.finditer(skeleton), _MAX_FINDINGS):
        at = match.end() - len(match[0].lstrip())
        yield skeleton.count("\n", 0, at) + 1, match


def _not_shown(skeleton: str, msgtype: str) -> Iterator[Finding]:
    for pattern, code in _NOT_SHOWN.get(msgtype, ()):
        for line, _ in _matches(re.compile(pattern, re.MULTILINE), skeleton):
            yield Finding(code, line)


def _variables(
    environment: Environment, tree: nodes.Template, known: set[str]
) -> Iterator[Finding]:
    undeclared = meta.find_undeclared_variables(tree) - environment.globals.keys()
    # Of `build` only its parts are printed; who prints all of it means the number.
    parts = {id(node.node) for node in tree.find_all(nodes.Getattr)}
    parts |= {id(node.node) for node in tree.find_all(nodes.Getitem)}
    parts |= {id(node.test) for node in tree.find_all(nodes.If)}
    parts |= {id(node.test) for node in tree.find_all(nodes.CondExpr)}
    lines: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        is_whole = node.name == "build" and id(node) not in parts
        if node.name in undeclared and (node.name not in known or is_whole):
            lines.setdefault(node.name, node.lineno)
    for name in sorted(lines, key=lambda name: (lines[name], name))[:_MAX_FINDINGS]:
        values = {"name": name, "close": _meant(name, known)}
        yield Finding("unknown_variable", lines[name], values)


def _meant(name: str, known: set[str], least: float = 0.6) -> str:
    """Return the variable that somebody may have meant, '' for none."""
    name = unicodedata.normalize("NFKC", name)
    meant = _MEANT.get(name.lower(), "")
    return meant if meant in known else nearest(name, sorted(known), least)


def _filters(environment: Environment, tree: nodes.Template, msgtype: str) -> Iterator[Finding]:
    """Yield unknown filters and tests, colours that do not exist, and filters without a use.

    The environment knows all of them afterwards: Jinja2 would not compile the tree otherwise.
    """
    known = sorted(environment.filters)
    for node in tree.find_all(nodes.Filter):
        if node.name not in environment.filters:
            values = {"name": node.name, "close": nearest(node.name, known)}
            yield Finding("unknown_filter", node.lineno, values)
            environment.filters[node.name] = environment.filters["string"]
        elif code := _USELESS.get((msgtype, node.name), ""):
            yield Finding(code, node.lineno, {"name": node.name})
        color = node.args[0] if node.name == "color" and node.args else None
        if isinstance(color, nodes.Const) and color.value not in COLORS:
            yield Finding("unknown_color", node.lineno, {"color": str(color.value)})
    for test in tree.find_all(nodes.Test):
        if test.name not in environment.tests:
            yield Finding("unknown_test", test.lineno, {"name": test.name})
            environment.tests[test.name] = environment.tests["defined"]


def _typed_code(skeleton: str, known: set[str]) -> Iterator[Finding]:
    """Yield what was meant as code, and is none."""
    for line, match in _matches(_FULL_WIDTH_TAG, skeleton):
        twin = "".join(half(char) or char for char in match[0])
        yield Finding("fullwidth", line, {"char": match[0], "half": twin})
    for line, match in _matches(_SINGLE_BRACES, skeleton):
        name = match["name"]
        close = name if name in known else _meant(name, known, 0.8)
        if close:
            yield Finding("single_braces", line, {"typed": match[0], "name": close})


def _html(skeleton: str, msgtype: str) -> Iterator[Finding]:
    for line, match in _matches(_HTML, skeleton):
        tag = match["tag"].lower()
        if match[0].startswith("</") and tag != "br":
            continue  # its opening tag is found
        if tag in _TAGS:
            yield Finding(_TAGS[tag], line, {"tag": match[0]})
        elif tag == "font" and msgtype in ("markdown", ""):
            font = _FONT.fullmatch(match[0])
            if not font:
                yield Finding("color_form", line)
            elif font["color"] not in (*COLORS, _VALUE):
                yield Finding("unknown_color", line, {"color": font["color"]})


def _mentions(skeleton: str, msgtype: str) -> Iterator[Finding]:
    can_mention = not msgtype or MSGTYPES[msgtype].inline_mentions
    for line, match in _matches(_MENTION, skeleton):
        code = "typed_name"
        if match["all"] or match["inline_all"]:
            code = "typed_all"
        elif who := match["who"]:
            code = "" if _USERID.fullmatch(who) else "no_userid"
            code = code if can_mention else "no_inline_mention"
        if code:
            yield Finding(code, line, {"typed": match[0]})


def _quoted(skeleton: str) -> Iterator[Finding]:
    """Yield values inside the quotes of a JSON text: each brings its own."""
    quoted = (match for match in _QUOTED.finditer(skeleton) if _VALUE in match[0])
    for match in islice(quoted, _MAX_FINDINGS):
        yield Finding("quoted_value", skeleton.count("\n", 0, match.start()) + 1)
