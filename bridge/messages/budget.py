"""What a template may cost in the process that sends: a sandbox with bounds on time and size.

Every file has been tried in a child process with hard limits before (`child.py`); this is for one
that becomes costly with some event. Loops and calls check the CPU time, operators and calls the
size of what they would make.
"""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import Any

from jinja2 import BaseLoader, Undefined
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bridge.messages.findings import NoMessageError
from bridge.messages.markdown import join_up_to

MAX_SECONDS = 1.0  # of CPU, for all renderings of one message
MAX_OUTPUT = 1 << 20  # characters or entries of any text or list that a template makes
MAX_NUMBER = 10_000  # that a template may hand to a function: widths, counts, ranges
_MAX_PRODUCT = 1 << 26  # of the sizes that a function gets: `replace` may make so many characters


class TooCostlyError(NoMessageError):
    """A template took more time, or made more text, than any message needs."""


class _Ticking(CodeGenerator):
    """Puts a check of the time into every template, macro and turn of a loop."""

    def enter_frame(self, frame: Frame) -> None:
        self.writeline("environment.tick()")
        super().enter_frame(frame)


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox with bounds on time and size; each thread has a deadline of its own."""

    intercepted_binops = frozenset(["*", "**", "+", "%"])
    code_generator_class = _Ticking

    def __init__(self, loader: BaseLoader, **options: Any) -> None:
        super().__init__(loader=loader, **options)
        self._local = threading.local()  # its `deadline` is in s of the thread's CPU time
        del self.globals["lipsum"]

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Give the renderings inside MAX_SECONDS of this thread's CPU time."""
        self._local.deadline = time.thread_time() + MAX_SECONDS
        try:
            yield
        finally:
            del self._local.deadline

    def tick(self) -> None:
        """Check the time; every turn of a loop, operator, call and filter does."""
        if time.thread_time() > getattr(self._local, "deadline", float("inf")):
            raise TooCostlyError("too_slow", seconds=int(MAX_SECONDS))

    def check(self, first: Any, others: Sequence[Any]) -> None:
        """Check the time, and the sizes of what a function works on."""
        self.tick()
        if any(isinstance(value, int) and abs(value) > MAX_NUMBER for value in others):
            raise TooCostlyError("large_number", most=MAX_NUMBER)
        if _length(first) * max(map(_length, others), default=0) > _MAX_PRODUCT:
            raise TooCostlyError("too_much")

    def concat(self, pieces: Iterable[str]) -> str:
        """Join what a macro, a block or an operator makes."""
        text = join_up_to(pieces, MAX_OUTPUT)
        if len(text) > MAX_OUTPUT:
            raise TooCostlyError("too_large", most=MAX_OUTPUT)
        return text

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function for a template."""
        self.check(getattr(obj, "__self__", None), [*args, *kwargs.values()])
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator for a template, unless what it would make is too large."""
        self.tick()
        if operator == "%" and isinstance(left, str):
            # A `(` is there where the name before a width is not a plain one.
            widths = " ".join(re.findall(r"%(?:\([^()%]*\))?([-#0 +.*\d(]*)", left))
            if {"*", "("} & {*widths} or sum(
                map(int, re.findall(r"\d{1,18}", widths))
            ) > MAX_NUMBER:
                raise TooCostlyError("large_width", most=MAX_NUMBER)
            self.check(left, [right] if isinstance(right, tuple | Mapping | str) else [])
        elif _made(operator, left, right) > MAX_OUTPUT:
            raise TooCostlyError("too_large", most=MAX_OUTPUT)
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Refuse `str.format`, whose widths nothing could check."""
        if super().wrap_str_format(value) is not None:
            raise NoMessageError("out_of_reach", name=f"str.{value.__name__}")
        return None

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuse loudly what leads out of the sandbox; Jinja2 would only show nothing."""
        raise NoMessageError("out_of_reach", name=attribute)


def _length(value: Any) -> int:
    """Return a number, or how many characters and entries are in a text or list."""
    if isinstance(value, int):
        return abs(value)
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return sum(len(item) if isinstance(item, Sized) else 1 for item in value)
    return len(value) if isinstance(value, Sized) else 0


def _made(operator: str, left: Any, right: Any) -> int:
    """Return how many characters, entries or bits an operation makes."""
    numbers = [abs(value) for value in (left, right) if isinstance(value, int)]
    if len(numbers) == 2:
        bits = numbers[0].bit_length()
        return bits * numbers[1] if operator == "**" else bits + numbers[1].bit_length()
    if operator == "*" and numbers:
        return _length(left) * _length(right)
    return _length(left) + _length(right) if operator == "+" and not numbers else 0
