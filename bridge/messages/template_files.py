"""The templates that users edit: a folder's files, read again when one changes, and saved texts.

A text that was saved in the console wins over the file of its name, and is a file in all else. A
file that is broken, or that fails when it is tried, is replaced by its last good version. The
problem is logged once, with file and line, and stays in `problems` until the file is fixed. A
good file may still fail on one event: it is in `problems_by_file` until it renders another.
"""

import logging
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import TypeVar

from jinja2 import DictLoader, Template

from bridge.messages import child
from bridge.messages.budget import TooCostlyError
from bridge.messages.child import ChildError
from bridge.messages.environment import BridgeEnvironment
from bridge.messages.file_names import find_file, msgtype_of, name_finding
from bridge.messages.findings import Finding, finding_of, merged
from bridge.messages.lint import lint
from bridge.msgtypes import TEMPLATE_MSGTYPES
from bridge.wording import speaking

log = logging.getLogger(__name__)

Saved = Callable[[], Mapping[str, str]]
T = TypeVar("T")


@dataclass(frozen=True)
class _Folder:
    """The files as they were at one moment: their texts, and what is wrong with some of them.

    `texts` are those `in_folder` with the `saved` ones over them. Once they were tried, `versions`
    are the good ones of each file, the newest first, and `findings` what the linter says.
    """

    stamps: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    in_folder: Mapping[str, str] = field(default_factory=dict)
    saved: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    problems: dict[str, Finding] = field(default_factory=dict)
    versions: dict[str, tuple[Template, ...]] = field(default_factory=dict)
    findings: dict[str, list[Finding]] = field(default_factory=dict)


class TemplateFiles:
    """The templates in a folder by name, which are tried when they are first used.

    `saved` returns the texts that win over the folder's; it is asked for each message. `routed` are
    the templates that routes name.
    """

    def __init__(self, path: Path, timezone: tzinfo, saved: Saved, routed: Collection[str]) -> None:
        self._path = path
        self._timezone = timezone
        self._saved = saved
        self._routed = list(routed)
        self._lock = threading.Lock()  # guards the trials
        self._tried = self._newest = _Folder()
        self._untried: list[_Folder] = []
        self._failures: dict[str, Finding | None] = {}  # by file, None once it renders again
        # An edit before the first use has a former version, and so has a saved text.
        self._read_with({})

    def try_files(self, sources: Mapping[str, str], files: Sequence[str]) -> dict[str, Finding]:
        """Render some files, given the texts of all; return what is wrong with which."""
        raise NotImplementedError  # abstract: `Renderer` tries them in the child process

    def lint(
        self, sources: Mapping[str, str], files: Sequence[str], is_draft: bool = False
    ) -> dict[str, list[Finding]]:
        """Return what the linter says of some files, given the texts of all; see `lint`.

        It has no limits where no child can do it; then of a draft nothing is said.
        """
        try:
            found = child.run(lint, sources, files, self._routed)
            return {file: [Finding(*row) for row in rows] for file, rows in found.items()}
        except ChildError:  # the trial says so
            return {} if is_draft else lint(sources, files, self._routed)
        except TooCostlyError as error:
            if len(files) <= 1:
                return {file: [finding_of(error)] for file in files}
        each = [self.lint(sources, [file]) for file in files]
        return {file: rows for found in each for file, rows in found.items()}

    @property
    def files(self) -> Mapping[str, str]:
        """Return the text of every file by its name, helpers such as `_ours.j2` included."""
        return self._read().texts

    @property
    def folder_files(self) -> Mapping[str, str]:
        """Return the same of the folder alone."""
        return self._read().in_folder

    @property
    def problems(self) -> list[str]:
        """Return what is wrong with broken files, a line each, with file and line."""
        found = self._try_all().problems.items()
        return sorted({problem.located(file) for file, problem in found})

    @property
    def problems_by_file(self) -> Mapping[str, str]:
        """Return the same by the name of the file, and why a good one failed on its last event."""
        return {file: problem.located(file) for file, problem in self.broken.items()}

    @property
    def broken(self) -> Mapping[str, Finding]:
        """Return the same as data."""
        found = {**self._failures, **self._try_all().problems}
        return {file: problem for file, problem in found.items() if problem}

    @property
    def findings(self) -> Mapping[str, list[Finding]]:
        """Return all that is wrong with any file, by name: as it is, and on its last event."""
        found = dict(self._try_all().findings)
        for file, problem in self.broken.items():
            found[file] = merged(problem, found.get(file, []))
        return found

    def load(self) -> None:
        """Read and try the files, if they were not yet; to be called after a fork."""
        self._try_all()

    def knows(self, name: str) -> bool:
        """Return whether there is a file for a template's name, good or not."""
        return bool(find_file([name], self.files))

    def _render(
        self,
        names: Iterable[str],
        generic: Template,
        make: Callable[[Template], T],
        is_look: bool = False,
    ) -> T:
        """Return what `make` makes of a template of the first of these names that has a file.

        It is the file's newest good version, the one before where that fails, else `generic`. Why
        the newest failed is kept until it does not, and logged once, unless this `is_look`.
        """
        tried = self._try_all()
        for template in tried.versions.get(find_file(names, tried.texts), ()):
            file, problem = template.name or "", None
            try:
                made = make(template)
            except Exception as error:  # anything may come out of a user's template
                problem = finding_of(error, file)
            if not is_look and template in self._tried.versions.get(file, ())[:1]:
                if problem and problem != self._failures.get(file):
                    with speaking("en"):
                        text = problem.located(file)
                    log.error("template %s; a former version or the generic one is used", text)
                self._failures[file] = problem
            if not problem:
                return made
        return make(generic)

    def _read(self) -> _Folder:
        return self._read_with(self._saved())

    def _read_with(self, saved: Mapping[str, str]) -> _Folder:
        """Return the texts, read again if a file was changed, added or removed, or a text saved."""
        stamps = {}
        with suppress(OSError), os.scandir(self._path) as files:  # for every message, so quickly
            for file in files:
                name = os.fsencode(file.name).decode(errors="backslashreplace")
                if name.endswith(".j2"):
                    with suppress(OSError):  # a link that leads nowhere, as some editors make
                        status = file.stat()
                        stamps[name] = (status.st_mtime_ns, status.st_size)
                elif name_finding(name):
                    stamps[name] = (0, 0)
        if stamps != self._newest.stamps or saved != self._newest.saved:
            wrong: dict[str, Finding] = {}
            names = [name for name in stamps if name.endswith(".j2")]
            in_folder = {name: self._text(name, wrong) for name in names}
            texts = dict(sorted({**in_folder, **saved}.items()))
            problems = {name: problem for name, problem in wrong.items() if name not in saved}
            self._newest = _Folder(stamps, in_folder, saved, texts, problems)
            self._untried.append(self._newest)
        return self._newest

    def _text(self, name: str, problems: dict[str, Finding]) -> str:
        try:
            text = (self._path / name).read_text(encoding="utf-8-sig")
            if "\0" not in text:
                return text
            problems[name] = Finding("not_utf8")  # UTF-16 without a mark at its begin
        except UnicodeDecodeError:
            problems[name] = Finding("not_utf8")
        except OSError as error:
            problems[name] = finding_of(error)
        return self._newest.in_folder.get(name, "")

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
        readable = [file for file in texts if file not in problems]
        folder.findings.update(self.lint(texts, readable))
        misnamed = {f: found for f in {*folder.stamps, *texts} if (found := name_finding(f))}
        folder.findings.update({f: [found] for f, found in misnamed.items() if f not in texts})
        problems |= {f: found for f, found in misnamed.items() if f in texts}
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
                problems[file] = finding_of(error, file)
            else:
                changed = old.texts.get(file) != texts[file]
                folder.versions[file] = (template, *(former[:1] if changed else former[1:2]))
        with speaking("en"):
            _log(old, folder)
        return folder


def _log(old: _Folder, new: _Folder) -> None:
    """Log what has become wrong or right, once for each change of a file."""
    known = {problem.located(file) for file, problem in old.problems.items()}
    texts = {problem.located(file) for file, problem in new.problems.items()}
    for text in sorted(texts - known):  # one for all that use a broken helper
        log.error("template %s; its last good version is used, or the generic one", text)
    for file in old.problems.keys() - new.problems.keys():
        log.info("template %s is good again", file)
    for file in sorted(new.findings.keys() - new.problems.keys()):
        shown = [one.located(file) for one in new.findings[file] if one.level != "note"]
        is_new = new.texts.get(file) != old.texts.get(file) or file not in old.findings
        if shown and is_new:
            log.warning("template %s", "; ".join(shown))
