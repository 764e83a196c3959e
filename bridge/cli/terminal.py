"""Output for a terminal: no control sequences, no secrets, even columns, values for JSON."""

import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, tzinfo
from typing import Any, TypeVar

import click

from bridge.logs import forms, redact
from bridge.messages.markdown import plain
from bridge.model import to_json

T = TypeVar("T")

# Whole escape sequences (ECMA-48): without its first character the rest of one would show.
_SEQUENCES = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9b-\x9f]*(?:\x07|\x1b\\\\|\x9c)"
    "|\x1b[ -/]*[0-~]?"
)
# What is allowed in JSON, but may control a terminal.
_UNSEEN = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]")


class Terminal:
    """All output of a command; these secrets are replaced by `***`."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._forms = forms(secrets)

    def say(self, text: str = "", err: bool = False) -> None:
        """Print lines of text."""
        click.echo(self.clean(text), err=err)

    def clean(self, text: str) -> str:
        """Return a text as it may be printed."""
        return redact(visible(text), self._forms)

    def table(self, rows: Sequence[Sequence[str]], indent: str = "") -> None:
        """Print rows of cells, each cell on one line, in even columns."""
        cells = [[self.clean(one_line(cell)) for cell in row] for row in rows]
        widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            pairs = zip(row, widths, strict=True)
            line = "  ".join(cell + " " * (wide - width(cell)) for cell, wide in pairs)
            click.echo(f"{indent}{line}".rstrip())

    def json(self, tree: Any) -> None:
        """Print a value as JSON; in its texts only the secrets are left out."""
        text = to_json(self._redacted(tree), indent=2)
        click.echo(_UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text))

    def _redacted(self, tree: Any) -> Any:
        if isinstance(tree, Mapping):
            return {self._redacted(key): self._redacted(item) for key, item in tree.items()}
        if isinstance(tree, list | tuple):
            return [self._redacted(item) for item in tree]
        return redact(tree, self._forms) if isinstance(tree, str) else tree


def visible(text: str) -> str:
    """Return text without escape sequences, control and bidi characters, and broken ones."""
    return plain(_SEQUENCES.sub("", text)).encode(errors="replace").decode()


def one_line(text: str) -> str:
    """Return a visible text on one line."""
    return re.sub(r"\s+", " ", visible(text)).strip()


def width(text: str) -> int:
    """Return the number of columns of a text: two for a Chinese character."""
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, columns: int) -> str:
    """Return a text on one line, in at most so many columns."""
    text = one_line(text[: 10 * columns])
    if width(text) <= columns:
        return text
    while width(text) >= columns:
        text = text[:-1]
    return f"{text}…"


def local_time(epoch: float, zone: tzinfo) -> str:
    """Return epoch seconds as date and time."""
    return datetime.fromtimestamp(epoch, zone).strftime("%Y-%m-%d %H:%M:%S")


def iso(epoch: float, zone: tzinfo) -> str | None:
    """Return epoch seconds by ISO 8601; None for 0, which is never."""
    return datetime.fromtimestamp(epoch, zone).isoformat(timespec="milliseconds") if epoch else None


def attributes(row: object, names: Sequence[str], zone: tzinfo) -> dict[str, Any]:
    """Return these attributes for JSON, those that end in `_at` as times by ISO 8601."""
    found = {name: getattr(row, name) for name in names}
    return {n: iso(value, zone) if n.endswith("_at") else value for n, value in found.items()}


def progress(items: Sequence[T], label: str) -> AbstractContextManager[Iterable[T]]:
    """Return the items with a progress bar on standard error, hidden unless that is a terminal."""
    return click.progressbar(items, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())
