"""Changes of regular expressions, which mutmut does not make: a piece less, or the opposite."""

import re
from collections.abc import Iterator, Sequence

import libcst as cst

# `{{` and `}}` are those of an f-string.
_ESCAPE = r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)"
_PIECES = re.compile(
    rf"(?P<look>\(\?<?[=!])|(?P<group>\((?:\?:)?)|(?P<close>\))|(?P<bar>\|)"
    rf"|(?P<class>\[\^?\]?(?:{_ESCAPE}|[^\]\\])*\])"
    r"|(?P<times>[*+?][+?]?|\{\{?[0-9]+(?:,[0-9]*)?\}\}?)"
    rf"|(?P<anchor>\^|\$|\\[AZbB])|(?P<other>{_ESCAPE}|.)",
    re.DOTALL,
)
_MEMBER = re.compile(rf"(?:{_ESCAPE}|.)(?:-(?:{_ESCAPE}|.))?", re.DOTALL)
_LOOKS = {"(?=": "(?!", "(?!": "(?=", "(?<=": "(?<!", "(?<!": "(?<="}
_NEVER = "(?!)"


def changes(pattern: str) -> Iterator[str]:
    """Yield a pattern, or a part of one, with one change each.

    A class loses a character or a range, or gains all others; a look around turns into its
    opposite; what may be repeated may not, and what may be missing must be there; an alternative
    never matches; an anchor is gone.
    """
    pieces = list(_PIECES.finditer(pattern))
    for piece in pieces:
        before, after = pattern[: piece.start()], pattern[piece.end() :]
        kind, text = piece.lastgroup, piece[0]
        new: Sequence[str] = ()
        if kind == "look":
            new = [_LOOKS[text]]
        elif kind == "class":
            new = list(_classes(text))
        elif kind == "times":
            new = ["", *({"*": ["+"], "+": ["*"]}.get(text[0], []))]
        elif kind == "anchor":
            new = [""]
        for changed in new:
            yield before + changed + after
    for begin, end in _alternatives(pieces, len(pattern)):
        yield pattern[:begin] + _NEVER + pattern[end:]


def _classes(text: str) -> Iterator[str]:
    """Yield a class of characters with one member less each, and its opposite."""
    negated = text.startswith("[^")
    inside = text[2:-1] if negated else text[1:-1]
    yield f"[{inside}]" if negated else f"[^{inside}]"
    members = _MEMBER.findall(inside)
    for number in range(len(members) if len(members) > 1 else 0):
        left = "".join(members[:number] + members[number + 1 :])
        yield f"[{'^' if negated else ''}{left}]"


def _alternatives(pieces: list[re.Match[str]], length: int) -> Iterator[tuple[int, int]]:
    """Yield where each alternative begins and ends, for groups that have several."""
    stack: list[list[int]] = [[0]]  # where the alternatives of each open group begin
    for piece in pieces:
        kind = piece.lastgroup
        if kind in ("look", "group"):
            stack.append([piece.end()])
        elif kind == "bar":
            stack[-1].append(piece.end())
        elif kind == "close" and len(stack) > 1:
            yield from _spans(stack.pop(), piece.start())
    yield from _spans(stack[0], length)


def _spans(begins: list[int], end: int) -> Iterator[tuple[int, int]]:
    if len(begins) > 1:
        for begin, following in zip(begins, [*begins[1:], end + 1], strict=True):
            if begin < following - 1:  # not what is empty
                yield begin, following - 1


def of_string(node: cst.SimpleString) -> Iterator[cst.SimpleString]:
    """Yield the changes of a raw string, which is a pattern in this code."""
    if "r" in node.prefix and len(node.quote) == 1:
        for changed in changes(node.raw_value):
            yield node.with_changes(value=f"{node.prefix}{node.quote}{changed}{node.quote}")


def of_text(node: cst.FormattedString) -> Iterator[cst.FormattedString]:
    """Yield the changes of a raw f-string, one of its pieces of text at a time."""
    if "r" not in node.start:
        return
    for number, part in enumerate(node.parts):
        if isinstance(part, cst.FormattedStringText):
            for changed in changes(part.value):
                parts = [*node.parts[:number], part.with_changes(value=changed)]
                yield node.with_changes(parts=[*parts, *node.parts[number + 1 :]])


def of_call(node: cst.Call) -> Iterator[cst.Call]:
    """Yield the changes of a pattern in a string that is not raw, as an argument of `re`."""
    function = node.func
    if not isinstance(function, cst.Attribute) or not isinstance(function.value, cst.Name):
        return
    first = node.args[0].value if node.args else None
    if function.value.value != "re" or not isinstance(first, cst.SimpleString):
        return
    if "r" in first.prefix:
        return
    for changed in changes(first.raw_value):
        value = first.with_changes(value=f"{first.prefix}{first.quote}{changed}{first.quote}")
        yield node.with_changes(args=[node.args[0].with_changes(value=value), *node.args[1:]])


OPERATORS = [(cst.SimpleString, of_string), (cst.FormattedString, of_text), (cst.Call, of_call)]
