"""WeCom's dialects: make untrusted text harmless, and cut it by bytes; pure.

WeCom documents no escape (document 91770), so a construct is broken with a zero-width space, and
where that cannot break it the character's full-width twin stands in. What a reader sees is still
the text that was written.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator

from bridge.msgtypes import MSGTYPES
from bridge.wording import CUT, cut_mark

ZWSP = "\u200b"
# Private characters, which `finish` replaces: a line end, and a `_` of an address, in a value.
SOFT_BREAK = "\ue000"
_SOFT_UNDERSCORE = "\ue001"
EMPTY, FILLED = "\ue002", "\ue003"  # an optional value that is empty, and one that follows
SEPARATOR = " · "  # of the parts of a line, each of which may be left out
_FLAG_LETTERS = "".join(map(chr, range(0x1F1E6, 0x1F200)))  # two of them make a flag

# Controls but tab and newline, and what reverses the reading direction.
_UNSEEN = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ue000-\ue003]"
)
_NEWLINES = re.compile("\r\n?|[\x85\u2028\u2029]")

# Addresses of these characters stay as they are: none of them begins a construct in an address.
_ADDRESS = re.compile(r"https?://(?!\S*~~)[\w.~:/?#@!$&'+,=%-]*[\w/=&#%+-]", re.ASCII)
_OPTIONAL = re.compile(f"[{EMPTY}{FILLED}]")
_MARK = re.compile(rf"…{CUT}，共 \d+ 字）\Z")
# The line of a crash log that names the exception: no frame of the stack, which may hold the word.
_EXCEPTION = re.compile(
    r"^(?![^\S\n]*(?:at\s|#?\d+\s))"
    r".*?(?:(?i:exception|error\b|fatal|signal \d)|\bSIG[A-Z]{3,}|EXC_)",
    re.MULTILINE,
)
_FRAME_SIZE = 120  # bytes of a line of a stack, on average
# A `_` that is not inside a word may begin or end emphasis.
_EMPHASIS = re.compile(r"(?<!_)(?:(?<![^\W_])_++|_++(?![^\W_]))")
# Below, `\Z` stands for what the template or the next value may add.
_ENTITY = r"&(?=#|[A-Za-z]{1,30};|[A-Za-z]{0,30}\Z)"
# For each dialect: what a zero-width space goes behind, what it goes before, and the twins of signs
# that a lone one makes live whatever stands beside it.
_DEFUSED = {
    "text": (re.compile(r"<(?=@|\Z)"), re.compile(r"(?!)"), {}),
    "markdown": (
        re.compile(rf"<(?=[@/!?A-Za-z]|\Z)|\](?=\(|\Z)|\*(?=\*|\Z)|{_ENTITY}"),
        re.compile(r"\A(?=[*@(;])|^(?=[^\S\n]*[#>])", re.MULTILINE),
        {"`": "｀"},
    ),
    "markdown_v2": (
        re.compile(
            rf"<(?=[@/!?A-Za-z]|\Z)|\](?=[(\[:]|\Z)|{_ENTITY}|!(?=\[|\Z)|~(?=~)"
            rf"|\\(?=[!-/:-@\[-`{{-~\n]|\Z)|{_EMPHASIS.pattern}"
        ),
        re.compile(
            rf"^(?=[^\w\n]|[0-9]{{1,9}}[.)](?:[^\S\n]|$))|(?={_EMPHASIS.pattern})", re.MULTILINE
        ),
        {"`": "｀", "*": "＊", "|": "｜"},
    ),
}


def plain(text: str) -> str:
    """Return text with LF line ends and without control and bidi-override characters."""
    return _UNSEEN.sub("", _NEWLINES.sub("\n", text))


def defuse(text: str, msgtype: str) -> str:
    """Return untrusted text so that it cannot mention, link, quote, head, colour or format.

    An http or https address of ordinary characters stays one. The text of a whole message has to
    go through `finish`.
    """
    if text.isalnum():  # most values are, and need no more
        return text
    dialect = MSGTYPES[msgtype].dialect
    is_v2 = dialect == "markdown_v2"
    if _ADDRESS.fullmatch(text):
        return _EMPHASIS.sub(lambda run: _SOFT_UNDERSCORE * len(run[0]), text) if is_v2 else text
    behind, before, twins = _DEFUSED[dialect]
    text = plain(text)
    for sign, twin in twins.items():  # `translate` takes fifty times as long
        text = text.replace(sign, twin)
    text = before.sub(ZWSP, behind.sub(rf"\g<0>{ZWSP}", text))
    return text.replace("\n", SOFT_BREAK) if is_v2 else text


def finish(text: str) -> str:
    """Return a message with the line ends and underscores of its values.

    A table's row is one line, which only the template may end: there a line end becomes a blank.
    Outside of a link a `_` of an address could make emphasis with another one: then both are
    percent-encoded, which leads to the same page. Parts of lines whose optional values are all
    empty are left out, and so are lines of which nothing remains.
    """
    text = "\n".join(kept_lines(text.split("\n")))
    if _SOFT_UNDERSCORE in text:
        links = re.compile(rf"\]\([^()\s]*{_SOFT_UNDERSCORE}")
        text = links.sub(lambda link: link[0].replace(_SOFT_UNDERSCORE, "_"), text)
        runs = re.findall(f"{_SOFT_UNDERSCORE}+", text)
        text = text.replace(_SOFT_UNDERSCORE, "_" if len(runs) == 1 else "%5F")
    if SOFT_BREAK not in text:
        return text
    lines = text.split("\n")
    return "\n".join(
        line.replace(SOFT_BREAK, " " if line.lstrip().startswith("|") else "\n") for line in lines
    )


def kept_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield a template's lines without the parts whose optional values are all empty."""
    for line in lines:
        if EMPTY not in line and FILLED not in line:
            yield line
            continue
        parts = line.split(SEPARATOR)
        parts[0] = parts[0].lstrip("># ")
        marks = line[: len(line) - len(SEPARATOR.join(parts))]  # of a quote or heading: they stay
        kept = [part.strip() for part in parts if EMPTY not in part or FILLED in part]
        if kept:
            yield marks + _OPTIONAL.sub("", SEPARATOR.join(kept))


def size(text: str) -> int:
    """Return the bytes of UTF-8 that WeCom counts."""
    return len(text.encode())


def join_up_to(pieces: Iterable[str], room: int) -> str:
    """Join texts, and take no more of them once they are longer than `room` characters."""
    taken = []
    for piece in pieces:
        taken.append(piece)
        room -= len(piece)
        if room < 0:
            break
    return "".join(taken)


def shorten(text: str, room: int) -> str:
    """Return text in at most `room` bytes: whole, or cut and marked with its full length.

    Never cuts inside a character or an emoji sequence. Where the mark has no room, `…` is it. A
    text that was cut before keeps its mark.
    """
    if len(text) <= room and size(text) <= room:
        return text
    text, mark = _unmarked(text)
    if size(mark) > room:
        mark = "…"
    keep = max(room - size(mark), 0)
    end = len(text[:keep].encode()[:keep].decode(errors="ignore"))
    while end and not _boundary(text, end):
        end -= 1
    return text[:end].rstrip() + mark


def stack(text: str, most: int = 12) -> str:
    """Return a crash log from the line that names the exception on, with `most` lines more.

    What is left out is marked with the full length, as in `shorten`.
    """
    whole, mark = _unmarked(text)
    found = _EXCEPTION.search(whole)
    lines = whole[found.start() if found else 0 :].split("\n")[: most + 1]
    shown = "\n".join(lines).strip("\n")
    if shown != text.strip("\n"):
        shown += f"\n{mark}"
    return shorten(shown, _FRAME_SIZE * (most + 1))


def _unmarked(text: str) -> tuple[str, str]:
    """Return a text, and the mark that says its full length, which it may have already."""
    found = _MARK.search(text)
    return (text[: found.start()], found[0]) if found else (text, cut_mark(len(text)))


def _boundary(text: str, at: int) -> bool:
    """Return whether a reader sees two characters at `text[at]`, one ending and one beginning."""
    if _extends(text[at]) or text[at - 1] == "\u200d":
        return False
    flag_letters = at - len(text[:at].rstrip(_FLAG_LETTERS))
    return flag_letters % 2 == 0 or text[at] not in _FLAG_LETTERS


def _extends(char: str) -> bool:
    """Return whether a character belongs to the one before it (Unicode annex 29, in the main)."""
    return (
        unicodedata.category(char) in ("Mn", "Me", "Mc")
        or char in ("\u200c", "\u200d")
        or "\U0001f3fb" <= char <= "\U0001f3ff"
        or "\U000e0020" <= char <= "\U000e007f"
        or "\u1160" <= char <= "\u11ff"
    )
