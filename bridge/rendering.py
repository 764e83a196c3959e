"""Event → Messages, by the folder of templates that its users edit.

A template's name says what it is for: `<type>.<msgtype>.j2`. Edited files are picked up at the
next message. A broken one falls back to its last good version, and without one to the generic
template below; whatever happens, the event is told.
"""

import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path

from jinja2 import DictLoader, Template, TemplateError, TemplateSyntaxError
from markupsafe import Markup

from bridge.markdown import LIMITS, defuse, shorten
from bridge.model import Event, Message, Target
from bridge.templating import BridgeEnvironment, View, fitting, render

log = logging.getLogger(__name__)

# Where one name has several msgtypes, the last of these wins: a file that a team adds beside the
# markdown one that came with the bridge is the one they want.
MSGTYPES = ("markdown", "markdown_v2", "text")

_GENERIC = """\
{{ (action or event.type or '通知')|color('comment') }} **{{ title }}**
{% for name, value in payload.items() if name not in ('action', 'title') %}
{{ name }}：{{ value }}
{% endfor %}"""

# Rendered once when a file is read, so that a template's mistakes show before an event does.
_TRIALS: tuple[dict[str, object], ...] = (
    {
        "action": "应用更新",
        "title": "OooPlay",
        "link": "https://www.pgyer.com/oooplay",
        "os_version": "2.4",
        "build_version": "139",
        "created": "2015-10-09 11:25:16",
        "timestamp": 1444361118,
        "appsize": "2238036",
        "device_type": "iOS",
        "notes": "修复\n崩溃",
    },
    {},
)


@dataclass(frozen=True)
class _Folder:
    """The templates as last read, by every name that picks them, and what is wrong with them."""

    stamps: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    templates: Mapping[str, Template] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


class Renderer:
    """Renders events by the templates in a folder; safe to use from many threads."""

    def __init__(self, folder: Path, timezone: tzinfo) -> None:
        self._path = folder
        self._timezone = timezone
        self._lock = threading.Lock()
        self._folder = _Folder()
        self._failures: dict[str, str] = {}
        environment = BridgeEnvironment("markdown", timezone, DictLoader({}))
        self._generic = environment.from_string(_GENERIC)
        self._read()

    @property
    def problems(self) -> list[str]:
        """Return what is wrong with the templates, a line each, with file and line."""
        return sorted({**self._failures, **self._read().problems}.values())

    def messages(self, event: Event, target: Target) -> list[Message]:
        """Return the messages that tell this event to this bot, in the order of sending.

        The first is by the target's template, the event's type or `default`. Never raises.
        """
        main = self._main(event, target)
        return [main, *_calls(main, event, target)]

    def _main(self, event: Event, target: Target) -> Message:
        templates = self._read().templates
        for name in (target.template, event.fields["type"], event.type, "default"):
            if template := templates.get(name):
                try:
                    return _message(template, event, target)
                except Exception as error:  # anything may come out of a user's template
                    self._report(template, error)
                    break
        return _message(self._generic, event, target)

    def _report(self, template: Template, error: Exception) -> None:
        problem = _describe(template.name or "", error)
        if self._failures.get(template.name or "") != problem:
            self._failures[template.name or ""] = problem
            log.error("template %s; the generic one is used until it is mended", problem)

    def _read(self) -> _Folder:
        """Return the folder's templates, read anew if a file was changed, added or removed."""
        stamps = {
            path.name: (path.stat().st_mtime_ns, path.stat().st_size)
            for path in sorted(self._path.glob("*.j2"))
        }
        if stamps != self._folder.stamps:
            with self._lock:
                if stamps != self._folder.stamps:
                    self._folder = self._load(stamps)
        return self._folder

    def _load(self, stamps: Mapping[str, tuple[int, int]]) -> _Folder:
        sources, problems = {}, {}
        for name in stamps:
            try:
                sources[name] = (self._path / name).read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                problems[name] = _describe(name, error)
        templates: dict[str, Template] = {}
        for msgtype in MSGTYPES:
            environment = BridgeEnvironment(msgtype, self._timezone, DictLoader(sources))
            for name in stamps:
                stem, _, kind = name.removesuffix(".j2").rpartition(".")
                if kind != msgtype or name.startswith("_"):
                    continue
                try:
                    template = environment.get_template(name)
                    for payload in _TRIALS:
                        _message(template, Event(stem, payload, 0.0), Target("default"))
                except Exception as error:  # anything may come out of a user's template
                    problems.setdefault(name, _describe(name, error))
                    template = self._folder.templates.get(name.removesuffix(".j2"), self._generic)
                templates[stem] = templates[name.removesuffix(".j2")] = template
        for name in stamps:
            if not name.startswith("_") and name.split(".")[-2] not in MSGTYPES:
                known = ", ".join(MSGTYPES)
                problems[name] = f"{name}: the name must end in .<msgtype>.j2, one of {known}"
        for name, problem in problems.items():
            if self._folder.problems.get(name) != problem:
                log.error("template %s; its last good version is used, or the generic one", problem)
        for name in self._folder.problems.keys() - problems:
            log.info("template %s is sound again", name)
        self._failures = {}
        return _Folder(stamps, templates, problems)


def _message(template: Template, event: Event, target: Target) -> Message:
    environment = template.environment
    assert isinstance(environment, BridgeEnvironment)
    msgtype = environment.msgtype
    users = [name for name in target.mention if not _needs_text(name)]
    mention = "" if msgtype == "markdown_v2" else " ".join(f"<@{user}>" for user in users)

    view = View(event, msgtype)

    limit = LIMITS[msgtype]

    def rendered(cap: int, entries: int, kept: int) -> str:
        variables = view.variables(cap, entries, kept) | {"mention": Markup(mention)}
        text = render(template, variables, limit)
        return text if mention in text else f"{text}\n{mention}"

    body: dict[str, object] = {"content": fitting(rendered, limit)}
    if msgtype == "text":
        body |= _mentioned([name for name in target.mention if _needs_text(name)])
    return Message(msgtype, body)


def _calls(main: Message, event: Event, target: Target) -> list[Message]:
    """Return the text message for mentions that the main message's msgtype cannot carry."""
    if main.msgtype == "text":
        return []
    names = [name for name in target.mention if _needs_text(name) or main.msgtype == "markdown_v2"]
    if not names:
        return []
    about = defuse(shorten(event.fields["title"], 200), "text")
    return [Message("text", {"content": about, **_mentioned(names)})]


def _needs_text(name: str) -> bool:
    """Tell whether a mention is `@all` or a mobile number: markdown carries userids only."""
    return name == "@all" or re.fullmatch(r"1[3-9]\d{9}", name) is not None


def _mentioned(names: list[str]) -> dict[str, list[str]]:
    mobiles = [name for name in names if name != "@all" and _needs_text(name)]
    users = [name for name in names if name not in mobiles]
    lists = {"mentioned_list": users, "mentioned_mobile_list": mobiles}
    return {key: names for key, names in lists.items() if names}


def _describe(name: str, error: Exception) -> str:
    """Return `file:line: what is wrong`, the line being the template's own."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.filename or error.name or name}:{error.lineno}: {error.message}"
    line, trace = 0, error.__traceback__
    while trace:
        filename = trace.tb_frame.f_code.co_filename
        if filename == "<template>" or filename.endswith(".j2"):
            line = trace.tb_lineno
        trace = trace.tb_next
    text = str(error) if isinstance(error, TemplateError | ValueError) else repr(error)
    return f"{name}:{line}: {text}" if line else f"{name}: {text}"
