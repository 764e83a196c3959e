"""The folder of templates that users edit, read again when a file changes.

A file that is broken, or that fails when it is tried, is replaced by its last good version. The
problem is logged once, with file and line, and stays in `problems` until the file is fixed. A
good file may still fail on one event: that stays in `failures` until it renders another.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path

from jinja2 import DictLoader, Template, TemplateError, TemplateSyntaxError

from bridge.messages.environment import BridgeEnvironment
from bridge.msgtypes import TEMPLATE_MSGTYPES

log = logging.getLogger(__name__)

Trial = Callable[[Mapping[str, str], Sequence[str]], Mapping[str, str]]


@dataclass(frozen=True)
class _Sources:
    """The texts of all files, and why some cannot be read."""

    stamps: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Tried:
    """What was found by trying all files; `versions` are a file's good ones, the newest first."""

    sources: _Sources
    versions: Mapping[str, tuple[Template, ...]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


class TemplateFiles:
    """The templates in a folder by name, which are read and tried when they are first used.

    `trial` takes the texts of all files and the names of some; it renders those, and returns what
    is wrong with which.
    """

    def __init__(self, path: Path, timezone: tzinfo, trial: Trial) -> None:
        self._path = path
        self._timezone = timezone
        self._trial = trial
        self._lock = threading.Lock()
        self._sources = _Sources()
        self._tried = _Tried(self._sources)
        self._first: _Sources | None = self._read()  # an edit before the first use has a former one
        self.failures: dict[str, str] = {}  # by the name of the file, with file and line

    @property
    def sources(self) -> Mapping[str, str]:
        """Return the text of every file by its name, helpers such as `_ours.j2` included."""
        return self._read().texts

    @property
    def problems(self) -> Mapping[str, str]:
        """Return what is wrong with broken files, by name, with file and line."""
        return self._try_all().problems

    def good_versions(self, names: Iterable[str]) -> tuple[Template, ...]:
        """Return the newest and the last good version of the first of these names that has a file.

        A name is a file's without its msgtype, or with it: `crashlog`, `crashlog.text`. Empty
        where no file exists, or where it was never good.
        """
        return self._try_all().versions.get(self.file_for(names), ())

    def file_for(self, names: Iterable[str]) -> str:
        """Return the file of the first of these names that has one, good or not; '' for none."""
        sources = self._read().texts
        return next((file for file in _file_names(names) if file in sources), "")

    def record(self, template: Template, error: Exception | None) -> None:
        """Keep, and log once, why a file's newest version failed on an event; None: it did not."""
        file = template.name or ""
        if template not in self._tried.versions.get(file, ())[:1]:
            return
        problem = describe(file, error) if error else ""
        if not problem:
            self.failures.pop(file, None)
        elif self.failures.get(file) != problem:
            self.failures[file] = problem
            log.error("template %s; a former version or the generic one is used", problem)

    def _read(self) -> _Sources:
        """Return the texts, read again if a file was changed, added or removed."""
        stamps = {}
        with suppress(OSError), os.scandir(self._path) as files:  # for every message, so quickly
            for file in files:
                if file.name.endswith(".j2"):
                    status = file.stat()
                    stamps[file.name] = (status.st_mtime_ns, status.st_size)
        if stamps != self._sources.stamps:
            problems: dict[str, str] = {}
            texts = {name: self._text(name, problems) for name in sorted(stamps)}
            self._sources = _Sources(stamps, texts, problems)
        return self._sources

    def _text(self, name: str, problems: dict[str, str]) -> str:
        try:
            text = (self._path / name).read_text(encoding="utf-8-sig")
            if "\0" in text:  # UTF-16 without a mark at its begin
                raise ValueError("is not UTF-8 text")
            return text
        except UnicodeDecodeError:
            problems[name] = f"{name}: is not UTF-8 text"
        except (OSError, ValueError) as error:
            problems[name] = describe(name, error)
        return self._sources.texts.get(name, "")

    def _try_all(self) -> _Tried:
        """Return what is good and what is not, tried again if a text has changed."""
        if self._read() is not self._tried.sources:
            with self._lock:
                sources = self._read()
                for each in (self._first, sources):
                    if each and each is not self._tried.sources:
                        self._tried = self._try(each)
                        self.failures = {}
                self._first = None
        return self._tried

    def _try(self, sources: _Sources) -> _Tried:
        old, texts, problems = self._tried, sources.texts, dict(sources.problems)
        for file in texts:
            if not file.startswith("_") and not msgtype_of(file):
                known = ", ".join(TEMPLATE_MSGTYPES)
                problems[file] = f"{file}: the name must end in .<msgtype>.j2, one of {known}"
        files = [file for file in texts if msgtype_of(file) and file not in problems]
        problems |= self._trial(texts, files)
        environments = {
            msgtype: BridgeEnvironment(msgtype, self._timezone, DictLoader(texts))
            for msgtype in TEMPLATE_MSGTYPES
        }
        versions: dict[str, tuple[Template, ...]] = {}
        for file in texts:
            versions[file] = former = old.versions.get(file, ())
            if file not in files or file in problems:
                continue
            try:
                template = environments[msgtype_of(file)].get_template(file)
            except Exception as error:  # found by the trial, unless that had other limits
                problems[file] = describe(file, error)
            else:
                changed = old.sources.texts.get(file) != texts[file]
                versions[file] = (template, *(former[:1] if changed else former[1:2]))
        for problem in sorted(set(problems.values()) - set(old.problems.values())):
            log.error("template %s; its last good version is used, or the generic one", problem)
        for file in old.problems.keys() - problems.keys():
            log.info("template %s is good again", file)
        return _Tried(sources, versions, problems)


def msgtype_of(file: str) -> str:
    """Return the msgtype in a file's name, '' where it is not a template's name."""
    stem, _, msgtype = file.removesuffix(".j2").rpartition(".")
    return msgtype if stem and not stem.startswith("_") and msgtype in TEMPLATE_MSGTYPES else ""


def _file_names(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if msgtype_of(f"{name}.j2"):
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
