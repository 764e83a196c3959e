"""The folder of templates that users edit: read anew when a file changes, never worse than before.

A file that is broken, or that fails when it is tried, gives way to its last good version. What is
wrong is said once in the log, with file and line, and stays in `problems` until it is mended.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path

from jinja2 import DictLoader, Template, TemplateError, TemplateSyntaxError

from bridge.messages.environment import BridgeEnvironment

log = logging.getLogger(__name__)

# Where one name has several msgtypes, the last of these wins: a file that a team adds beside the
# markdown one that came with the bridge is the one they want.
MSGTYPES = ("markdown", "markdown_v2", "text", "news", "template_card")

Trial = Callable[[str, Template], None]


@dataclass(frozen=True)
class _Content:
    """The folder as last read; `versions` are a file's good ones, the newest first."""

    stamps: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, tuple[Template, ...]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


class Folder:
    """The templates in a folder by name; `trial` renders one once, and raises if it fails."""

    def __init__(self, path: Path, timezone: tzinfo, trial: Trial) -> None:
        self._path = path
        self._timezone = timezone
        self._trial = trial
        self._lock = threading.Lock()
        self._content = _Content()
        self._failures: dict[str, str] = {}
        self._read()

    @property
    def problems(self) -> list[str]:
        """Return what is wrong with the templates, a line each, with file and line."""
        return sorted(self.wrong.values())

    def find(self, names: Iterable[str]) -> tuple[Template, ...]:
        """Return the good versions of the first of these names that there is: newest, former.

        None are left where its file was never sound: then it is for the caller to do without.

        A name is a file's without its msgtype, or with it: `crashlog`, `crashlog.text`.
        """
        versions = self._read().versions
        return next((versions[file] for file in _files(names) if file in versions), ())

    @property
    def sources(self) -> Mapping[str, str]:
        """Return the text of every file by its name, helpers such as `_macros.j2` included."""
        return self._read().sources

    @property
    def wrong(self) -> Mapping[str, str]:
        """Return what is wrong by the name of the file, with file and line."""
        return {**self._failures, **self._read().problems}

    def file_for(self, names: Iterable[str]) -> str:
        """Return the file that the first of these names leads to, sound or not; '' for none."""
        versions = self._read().versions
        return next((file for file in _files(names) if file in versions), "")

    def has(self, name: str) -> bool:
        """Tell whether there is a file for a name, sound or not."""
        return bool(self.file_for([name]))

    def failed(self, template: Template, error: Exception) -> None:
        """Keep in mind and say once that a template could not tell an event."""
        file = template.name or ""
        problem = describe(file, error)
        if self._failures.get(file) != problem:
            self._failures[file] = problem
            log.error("template %s; the event is told by its last good version or plainly", problem)

    def _read(self) -> _Content:
        """Return the folder's content, read anew if a file was changed, added or removed."""
        stamps = {}
        with suppress(OSError), os.scandir(self._path) as files:  # for every message, so quickly
            for file in files:
                if file.name.endswith(".j2"):
                    status = file.stat()
                    stamps[file.name] = (status.st_mtime_ns, status.st_size)
        if stamps != self._content.stamps:
            with self._lock:
                if stamps != self._content.stamps:
                    self._content = self._load(dict(sorted(stamps.items())))
                    self._failures = {}
        return self._content

    def _load(self, stamps: Mapping[str, tuple[int, int]]) -> _Content:
        old, problems = self._content, dict[str, str]()
        sources = {name: self._source(name, problems) for name in stamps}
        environments = {
            msgtype: BridgeEnvironment(msgtype, self._timezone, DictLoader(sources))
            for msgtype in MSGTYPES
        }
        versions: dict[str, tuple[Template, ...]] = {}
        for file in stamps:
            if file.startswith("_"):
                continue
            former, msgtype = old.versions.get(file, ()), msgtype_of(file)
            if not msgtype:
                known = ", ".join(MSGTYPES)
                problems[file] = f"{file}: the name must end in .<msgtype>.j2, one of {known}"
                continue
            try:
                template = environments[msgtype].get_template(file)
                self._trial(file.removesuffix(f".{msgtype}.j2"), template)
                changed = old.sources.get(file) != sources[file]
                versions[file] = (template, *former[:1]) if changed else (template, *former[1:2])
            except Exception as error:  # anything may come out of a user's template
                problems.setdefault(file, describe(file, error))
                versions[file] = former
        self._say(problems)
        return _Content(stamps, sources, versions, problems)

    def _source(self, name: str, problems: dict[str, str]) -> str:
        try:
            return (self._path / name).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            problems[name] = describe(name, error)
            return self._content.sources.get(name, "")

    def _say(self, problems: Mapping[str, str]) -> None:
        before = self._content.problems
        for problem in sorted(set(problems.values()) - set(before.values())):
            log.error("template %s; its last good version is used, or the generic one", problem)
        for file in before.keys() - problems.keys():
            log.info("template %s is sound again", file)


def msgtype_of(file: str) -> str:
    """Return the msgtype that a file's name says it is of, '' where it is no template's name."""
    stem, _, msgtype = file.removesuffix(".j2").rpartition(".")
    return msgtype if stem and not stem.startswith("_") and msgtype in MSGTYPES else ""


def _files(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield f"{name}.j2"
        yield from (f"{name}.{msgtype}.j2" for msgtype in reversed(MSGTYPES))


def describe(file: str, error: Exception) -> str:
    """Return `file:line: what is wrong`, the line being the template's own."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.filename or error.name or file}:{error.lineno}: {error.message}"
    line, trace = 0, error.__traceback__
    while trace:
        filename = trace.tb_frame.f_code.co_filename
        if filename == "<template>" or filename.endswith(".j2"):
            line = trace.tb_lineno
        trace = trace.tb_next
    text = str(error) if isinstance(error, TemplateError | ValueError) else repr(error)
    return f"{file}:{line}: {text}" if line else f"{file}: {text}"
