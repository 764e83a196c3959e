"""Decoded JSON → a payload that every database and message takes."""

import math
from typing import Any

from bridge.errors import UndecodableError

MAX_DEPTH = 100  # of objects in objects


def clean(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return decoded JSON without nulls, infinite numbers, NULs and broken characters.

    Raises UndecodableError where it nests deeper than `depth`, or holds an absurdly long number.
    """
    if isinstance(value, str):
        return clean_text(value)
    if not depth:
        raise UndecodableError("nested too deep")
    if isinstance(value, dict):
        pairs = ((clean_text(key), clean(item, depth - 1)) for key, item in value.items())
        return {key: item for key, item in pairs if item is not None}
    if isinstance(value, list):
        return [new for item in value if (new := clean(item, depth - 1)) is not None]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to print longer ones
        raise UndecodableError("a number of more than 1000 bits")
    return value


def clean_text(text: str) -> str:
    r"""Return text that UTF-8 can carry: pairs of \u surrogates joined, lone ones and NUL out."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "")
