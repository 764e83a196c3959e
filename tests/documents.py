"""The documents in both languages, and their parts."""

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from support import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("bench/*.md")])
# For those who develop the bridge, and therefore in English alone.
ENGLISH_ONLY = {DOCS / "mutants.md"}
CHINESE = {
    README: ROOT / "README.zh-CN.md",
    **{
        page: DOCS / "zh-CN" / page.relative_to(DOCS)
        for page in sorted(DOCS.rglob("*.md"))
        if page not in ENGLISH_ONLY and not page.is_relative_to(DOCS / "zh-CN")
    },
}
ENGLISH = {chinese: english for english, chinese in CHINESE.items()}

_FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def both(page: Path | str) -> list[Path]:
    """Return a page (of `docs/`, by its name) in English and in Chinese."""
    english = DOCS / page
    return [english, CHINESE[english]]


def fenced(text: str) -> list[tuple[str, str]]:
    """Return what stands between fences, each with its language."""
    return _FENCED.findall(text)


def blocks(text: str) -> list[str]:
    return [inside for _, inside in fenced(text)]


def prose(text: str) -> str:
    return _FENCED.sub("", text)


def spans(text: str) -> list[str]:
    """Return the code spans of a text; a table writes `|` in one as `\\|`."""
    return [span.replace("\\|", "|") for span in re.findall(r"`([^`\n]+)`", prose(text))]


def links(text: str) -> list[str]:
    return _LINK.findall(re.sub(r"`[^`\n]*`", "", prose(text)))


def rows(text: str) -> list[list[str]]:
    """Return the cells of all tables, without heads and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    lines = [line for line, after in pairwise([*lines, ""]) if not after.startswith("|--")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if not line.startswith("|--")]
    return [[cell.strip() for cell in row] for row in cells]


def headings(text: str) -> list[tuple[int, str]]:
    """Return the level and the text of each heading, in order."""
    found = re.findall(r"^(#+) (.+)$", prose(text), re.MULTILINE)
    return [(len(signs), title) for signs, title in found]


def anchors(text: str) -> list[str]:
    """Return the anchors of a document's headings, in order, as GitHub makes them."""
    titles = [title.lower() for _, title in headings(text)]
    return [re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in titles]


def parts(text: str) -> list[str]:
    """Return what follows each heading up to the next one, blocks included."""
    found, fence = [""], False
    for line in text.splitlines(keepends=True):
        fence ^= line.lstrip(" ").startswith("```")
        if not fence and re.match(r"#+ ", line):
            found.append("")
        else:
            found[-1] += line
    return found[1:]


def part(document: Path, title: str) -> str:
    """Return a part of a document by its heading in English, whatever the language, to its end."""
    heads = headings(text_of(ENGLISH.get(document, document)))
    [first] = [n for n, (_, name) in enumerate(heads) if name == title]
    level = heads[first][0]
    ends = (n for n, (deep, _) in enumerate(heads) if n > first and deep <= level)
    return "".join(parts(text_of(document))[first : next(ends, len(heads))])


def leads_to(document: Path, target: str) -> tuple[Path, str]:
    """Return the file and the anchor that a link in a document names."""
    path, _, anchor = target.partition("#")
    return Path(os.path.normpath(document.parent / path)) if path else document, anchor


def shell_lines(text: str) -> Iterator[str]:
    """Yield the commands in the `sh` blocks of a text, each whole and without its comment."""
    for language, inside in fenced(text):
        if language != "sh":
            continue
        whole = re.sub(r"\\\n", "", inside)
        command = ""
        for line in whole.splitlines():
            command = f"{command}\n{line}" if command else line
            if command.count("'") % 2 == 0:
                if bare := re.sub(r"(?:^|\s+)#.*", "", command).strip():
                    yield bare
                command = ""
