"""The folder of templates that users edit, read again when a file changes.

A file that is broken, or that fails when it is tried, is replaced by its last good version. The
problem is logged once, with file and line, and stays in `problems` until the file is fixed. A
good file may still fail on one event: that stays in `failures` until it renders another.
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
from bridge.msgtypes import TEMPLATE_MSGTYPES

log = logging.getLogger(__name__)

Trial = Callable[[str, Template], None]


@dataclass(frozen=True)
class _Content:
    """The folder as last read; `versions` are a file's good ones, the newest first."""

    stamps: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, tuple[Template, ...]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


class TemplateFiles:
    """The templates in a folder by name; `trial` renders one once, and raises if it fails."""

    def __init__(self, path: Path, timezone: tzinfo, trial: Trial) -> None:
        self._path = path
        self._timezone = timezone
        self._trial = trial
        self._lock = threading.Lock()
        self._content = _Content()
        self.failures: dict[str, str] = {}  # by the name of the file, with file and line
        self._read()

    @property
    def sources(self) -> Mapping[str, str]:
        """Return the text of every file by its name, helpers such as `_macros.j2` included."""
        return self._read().sources

    @property
    def problems(self) -> Mapping[str, str]:
        """Return what is wrong with broken files, by name, with file and line."""
        return self._read().problems

    def good_versions(self, names: Iterable[str]) -> tuple[Template, ...]:
        """Return the newest and the last good version of the first of these names that has a file.

        A name is a file's without its msgtype, or with it: `crashlog`, `crashlog.text`. Empty
        where no file exists, or where it was never good.
        """
        return self._read().versions.get(self.file_for(names), ())

    def file_for(self, names: Iterable[str]) -> str:
        """Return the file of the first of these names that has one, good or not; '' for none."""
        versions = self._read().versions
        return next((file for file in _file_names(names) if file in versions), "")

    def record(self, template: Template, error: Exception | None) -> None:
        """Keep, and log once, why a file's newest version failed on an event; None: it did not."""
        file = template.name or ""
        if template not in self._content.versions.get(file, ())[:1]:
            return
        problem = describe(file, error) if error else ""
        if not problem:
            self.failures.pop(file, None)
        elif self.failures.get(file) != problem:
            self.failures[file] = problem
            log.error("template %s; a former version or the generic one is used", problem)

    def _read(self) -> _Content:
        """Return the folder's content, read again if a file was changed, added or removed."""
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
                    self.failures = {}
        return self._content

    def _load(self, stamps: Mapping[str, tuple[int, int]]) -> _Content:
        old, problems = self._content, dict[str, str]()
        sources = {name: self._source(name, problems) for name in stamps}
        environments = {
            msgtype: BridgeEnvironment(msgtype, self._timezone, DictLoader(sources))
            for msgtype in TEMPLATE_MSGTYPES
        }
        versions: dict[str, tuple[Template, ...]] = {}
        for file in stamps:
            if file.startswith("_"):
                continue
            former, msgtype = old.versions.get(file, ()), msgtype_of(file)
            if not msgtype:
                known = ", ".join(TEMPLATE_MSGTYPES)
                problems[file] = f"{file}: the name must end in .<msgtype>.j2, one of {known}"
                continue
            if file in problems:
                versions[file] = former
                continue
            try:
                template = environments[msgtype].get_template(file)
                self._trial(file.removesuffix(f".{msgtype}.j2"), template)
                changed = old.sources.get(file) != sources[file]
                versions[file] = (template, *former[:1]) if changed else (template, *former[1:2])
            except Exception as error:  # anything may come out of a user's template
                problems[file] = describe(file, error)
                versions[file] = former
        self._log_changes(problems)
        return _Content(stamps, sources, versions, problems)

    def _source(self, name: str, problems: dict[str, str]) -> str:
        try:
            text = (self._path / name).read_text(encoding="utf-8-sig")
            if "\0" in text:  # UTF-16 without a mark at its begin
                raise ValueError("is not UTF-8 text")
            return text
        except UnicodeDecodeError:
            problems[name] = f"{name}: is not UTF-8 text"
        except (OSError, ValueError) as error:
            problems[name] = describe(name, error)
        return self._content.sources.get(name, "")

    def _log_changes(self, problems: Mapping[str, str]) -> None:
        before = self._content.problems
        for problem in sorted(set(problems.values()) - set(before.values())):
            log.error("template %s; its last good version is used, or the generic one", problem)
        for file in before.keys() - problems.keys():
            log.info("template %s is sound again", file)


def msgtype_of(file: str) -> str:
    """Return the msgtype in a file's name, '' where it is not a template's name."""
    stem, _, msgtype = file.removesuffix(".j2").rpartition(".")
    return msgtype if stem and not stem.startswith("_") and msgtype in TEMPLATE_MSGTYPES else ""


def _file_names(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield f"{name}.j2"
        yield from (f"{name}.{msgtype}.j2" for msgtype in reversed(TEMPLATE_MSGTYPES))


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
