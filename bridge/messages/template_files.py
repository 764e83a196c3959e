"""The folder of templates that users edit, read again when a file changes.

A file that is broken, or that fails when it is tried, is replaced by its last good version. The
problem is logged once, with file and line, and stays in `problems` until the file is fixed. A
good file may still fail on one event: that stays in `failures` until it renders another.
"""

import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path

from jinja2 import DictLoader, Template, TemplateError, TemplateSyntaxError

from bridge.messages.environment import BridgeEnvironment
from bridge.msgtypes import TEMPLATE_MSGTYPES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Folder:
    """The files as they were at one moment: their texts, and what is wrong with some of them.

    Once they were tried, `versions` are the good ones of each file, the newest first.
    """

    stamps: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    versions: dict[str, tuple[Template, ...]] = field(default_factory=dict)


class TemplateFiles:
    """The templates in a folder by name, which are tried when they are first used."""

    def __init__(self, path: Path, timezone: tzinfo) -> None:
        self._path = path
        self._timezone = timezone
        self._lock = threading.Lock()  # guards the trials
        self._tried = self._newest = _Folder()
        self._untried: list[_Folder] = []
        self._failures: dict[str, str] = {}  # by the name of the file, with file and line
        self._read()  # an edit before the first use has a former version

    def try_files(self, sources: Mapping[str, str], files: Sequence[str]) -> Mapping[str, str]:
        """Render some files, given the texts of all; return what is wrong with which."""
        raise NotImplementedError

    @property
    def files(self) -> Mapping[str, str]:
        """Return the text of every file by its name, helpers such as `_macros.j2` included."""
        return self._read().texts

    @property
    def problems(self) -> list[str]:
        """Return what is wrong with broken files, a line each, with file and line."""
        return sorted(self._try_all().problems.values())

    @property
    def problems_by_file(self) -> Mapping[str, str]:
        """Return the same by the name of the file, and why a good one failed on its last event."""
        return {**self._failures, **self._try_all().problems}

    def load(self) -> None:
        """Read and try the files, if they were not yet; to be called after a fork."""
        self._try_all()

    def knows(self, name: str) -> bool:
        """Return whether there is a file for a template's name, good or not."""
        return bool(self._file_for([name]))

    def _good_versions(self, names: Iterable[str]) -> tuple[Template, ...]:
        """Return the newest and the last good version of the first of these names that has a file.

        A name is a file's without its msgtype, or with it: `crashlog`, `crashlog.text`. Empty
        where no file exists, or where it was never good.
        """
        return self._try_all().versions.get(self._file_for(names), ())

    def _file_for(self, names: Iterable[str]) -> str:
        """Return the file of the first of these names that has one, good or not; '' for none."""
        texts = self._read().texts
        return next((file for file in _file_names(names) if file in texts), "")

    def _note(self, template: Template, error: Exception | None) -> None:
        """Keep, and log once, why a file's newest version failed on an event; None: it did not."""
        file = template.name or ""
        if template not in self._tried.versions.get(file, ())[:1]:
            return
        problem = describe(file, error) if error else ""
        if not problem:
            self._failures.pop(file, None)
        elif self._failures.get(file) != problem:
            self._failures[file] = problem
            log.error("template %s; a former version or the generic one is used", problem)

    def _read(self) -> _Folder:
        """Return the texts, read again if a file was changed, added or removed."""
        stamps = {}
        with suppress(OSError), os.scandir(self._path) as files:  # for every message, so quickly
            for file in files:
                if file.name.endswith(".j2"):
                    status = file.stat()
                    stamps[file.name] = (status.st_mtime_ns, status.st_size)
        if stamps != self._newest.stamps:
            problems: dict[str, str] = {}
            texts = {name: self._text(name, problems) for name in sorted(stamps)}
            self._newest = _Folder(stamps, texts, problems)
            self._untried.append(self._newest)
        return self._newest

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
        return self._newest.texts.get(name, "")

    def _try_all(self) -> _Folder:
        """Return what is good and what is not, tried again if a text has changed."""
        self._read()
        with self._lock:
            while self._untried:
                self._tried = self._try(self._untried.pop(0))
                self._failures = {}
            return self._tried

    def _try(self, folder: _Folder) -> _Folder:
        old, texts, problems = self._tried, folder.texts, folder.problems
        for file in texts:
            if not file.startswith("_") and not msgtype_of(file):
                known = ", ".join(TEMPLATE_MSGTYPES)
                problems[file] = f"{file}: the name must end in .<msgtype>.j2, one of {known}"
        files = [file for file in texts if msgtype_of(file) and file not in problems]
        problems |= self.try_files(texts, files)
        environments = {
            msgtype: BridgeEnvironment(msgtype, self._timezone, DictLoader(texts))
            for msgtype in TEMPLATE_MSGTYPES
        }
        for file in texts:
            folder.versions[file] = former = old.versions.get(file, ())
            if file not in files or file in problems:
                continue
            try:
                template = environments[msgtype_of(file)].get_template(file)
            except Exception as error:  # found by the trial, unless that had other limits
                problems[file] = describe(file, error)
            else:
                changed = old.texts.get(file) != texts[file]
                folder.versions[file] = (template, *(former[:1] if changed else former[1:2]))
        for problem in sorted(set(problems.values()) - set(old.problems.values())):
            log.error("template %s; its last good version is used, or the generic one", problem)
        for file in old.problems.keys() - problems.keys():
            log.info("template %s is good again", file)
        return folder


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
