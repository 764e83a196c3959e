"""How long the trust suite runs: short as a part of `make test`, long by `make soak`."""

import os
from typing import TypeVar

T = TypeVar("T")

SOAK = bool(os.environ.get("SOAK"))


def scaled(short: T, long: T) -> T:
    """Return the count for this run; SOAK=1 in the environment asks for the long one."""
    return long if SOAK else short
