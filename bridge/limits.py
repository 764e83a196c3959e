"""What a template may cost: a sandbox that ends a rendering before it hurts anybody.

Jinja2's sandbox keeps a template from leading out, but not from running or growing for ever. So
loops and calls check the CPU time, operators and calls the size of what they would make, and
every `{{ }}` the length of the output so far.
"""

import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

from jinja2 import BaseLoader, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_SECONDS = 1.0  # of CPU, for all renderings of one message
MAX_OUTPUT = 1 << 20  # characters of one rendering, and of any text that an operator makes
MAX_NUMBER = 100_000  # that a template may hand to a function: widths, counts, ranges


class TooCostlyError(Exception):
    """A template took more time, or made more text, than any message needs."""


class _Budget(threading.local):
    deadline = float("inf")
    room = MAX_OUTPUT


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox with a bound on time and size; each thread has a budget of its own."""

    intercepted_binops = frozenset(["*", "**", "+", "%"])

    def __init__(self, loader: BaseLoader, **options: Any) -> None:
        super().__init__(loader=loader, **options)
        self._budget = _Budget()
        for name in ("center", "indent", "batch", "slice", "format"):
            self.filters[name] = _with_small_numbers(self.filters[name])
        del self.globals["lipsum"]

    @contextmanager
    def limited(self) -> Any:
        """Give the renderings inside MAX_SECONDS of this thread's CPU time."""
        self._budget.deadline = time.thread_time() + MAX_SECONDS
        try:
            yield
        finally:
            self._budget.deadline = float("inf")

    def begin_rendering(self) -> None:
        """Let the output be counted from nothing again."""
        self._budget.room = MAX_OUTPUT

    def spend(self, text: str) -> None:
        """Count a piece of the output."""
        self._budget.room -= len(text)
        if self._budget.room < 0:
            raise TooCostlyError(f"makes more than {MAX_OUTPUT} characters")

    def tick(self) -> str:
        """Check the time; every turn of a loop and every call comes by here."""
        if time.thread_time() > self._budget.deadline:
            raise TooCostlyError(f"takes more than {MAX_SECONDS:.0f} s of CPU")
        return ""

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function for a template."""
        self.tick()
        _refuse_large([*args, *kwargs.values()])
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator for a template, unless what it would make is too large."""
        if _weight(operator, left, right) > MAX_OUTPUT:
            raise TooCostlyError(f"{operator} would make more than {MAX_OUTPUT} characters")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Refuse also `str.format`, whose widths nothing could check."""
        if isinstance(obj, str) and attr in ("format", "format_map"):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuse loudly what leads out of the sandbox; Jinja2 would only show nothing."""
        raise SecurityError(f"{attribute!r} is out of a template's reach")

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _Ticks().visit(tree)
        tree.set_environment(self)
        return tree


class _Ticks(NodeTransformer):
    """Puts a look at the clock into every loop."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        tick = nodes.Call(nodes.EnvironmentAttribute("tick"), [], [], None, None)
        node.body.insert(0, nodes.ExprStmt(tick, lineno=node.lineno))
        return node


def _weight(operator: str, left: Any, right: Any) -> int:
    """Return about how many characters or digits an operation makes."""
    if operator == "%":
        return _width(left) if isinstance(left, str) else 0
    if operator == "+":
        return _length(left) + _length(right)
    numbers = [abs(value) for value in (left, right) if isinstance(value, int)]
    if operator == "*":
        if len(numbers) == 2:
            return sum(number.bit_length() for number in numbers)
        return max(_length(left), _length(right)) * (numbers[0] if numbers else 0)
    return numbers[0].bit_length() * numbers[1] if len(numbers) == 2 else 0


def _length(value: Any) -> int:
    return len(value) if isinstance(value, Sequence) else 0


def _width(form: str) -> int:
    """Return the widest field that a %-format names."""
    return max((int(digits) for digits in re.findall(r"\d{1,18}", form)), default=0)


def _refuse_large(arguments: Sequence[Any]) -> None:
    if any(isinstance(value, int) and abs(value) > MAX_NUMBER for value in arguments):
        raise TooCostlyError(f"hands over a number above {MAX_NUMBER}")


def _with_small_numbers(filter_: Callable[..., Any]) -> Callable[..., Any]:
    def limited(value: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_large([*args, *kwargs.values()])
        if isinstance(value, str) and filter_.__name__ == "do_format" and _width(value) > 1000:
            raise TooCostlyError("formats to a width above 1000")
        return filter_(value, *args, **kwargs)

    return limited
