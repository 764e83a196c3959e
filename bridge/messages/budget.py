"""What a template may cost: a sandbox that ends a rendering before it hurts anybody.

Jinja2's sandbox keeps a template from leading out, but not from running or growing for ever. So
loops and calls check the CPU time, operators and calls the size of what they would make, and
every `{{ }}` the length of the output so far.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

from jinja2 import BaseLoader, Undefined, nodes
from jinja2.exceptions import SecurityError, TemplateRuntimeError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_SECONDS = 1.0  # of CPU, for all renderings of one message
MAX_OUTPUT = 1 << 20  # characters of one rendering, and of any text that an operator makes
MAX_HEFT = 1 << 26  # about the bytes that one call may look at or make, `_heft` times `_heft`
MAX_NUMBER = 10_000  # that a template may hand to a function: widths, counts, ranges


class TooCostlyError(TemplateRuntimeError):
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
        self.filters = {name: self.bounded(filter_) for name, filter_ in self.filters.items()}
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
        text = getattr(obj, "__self__", None)  # what a method such as `replace` is called on
        if text is self:
            return obj(*args)  # one of the checks above, which only this module puts into templates
        handed = [*args, *kwargs.values()]
        if not isinstance(text, str | bytes):
            self.tick()
            _refuse_large(handed)
            return super().call(context, obj, *args, **kwargs)
        self.weigh(text, handed)
        return _no_larger(super().call(context, obj, *args, **kwargs))

    def bounded(self, filter_: Callable[..., Any]) -> Callable[..., Any]:
        """Return a filter that looks at the clock, and at what it is handed and makes."""
        passed = int(hasattr(filter_, "jinja_pass_arg"))

        @wraps(filter_)  # keeps Jinja2's marks of what it passes to a filter
        def bounded(*args: Any, **kwargs: Any) -> Any:
            first, *others = args[passed:]
            self.weigh(first, [*others, *kwargs.values()])
            if filter_.__name__ == "do_format":
                _refuse_wide(str(first))
            return _no_larger(filter_(*args, **kwargs))

        return bounded

    def weigh(self, first: Any, others: Sequence[Any] = ()) -> None:
        """Check the time, and that what is to be worked on is of a size that a message needs."""
        self.tick()
        _refuse_large(others)
        if _heft(first) * (_heft(others) if others else 1) > MAX_HEFT:
            raise TooCostlyError("hands over more than any message needs")

    def weighed(self, value: Any) -> Any:
        """Return a value that is to be compared, unless that would take too long."""
        if isinstance(value, list | tuple | Mapping):
            self.weigh(value)
        return value

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator for a template, unless what it would make is too large."""
        self.tick()
        if operator == "%" and isinstance(left, str):
            _refuse_wide(left)
            self.weigh(left, [right])
        if _weight(operator, left, right) > MAX_OUTPUT:
            raise TooCostlyError(f"{operator} would make more than {MAX_OUTPUT} characters")
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Refuse `str.format`, whose widths nothing could check."""
        if super().wrap_str_format(value) is not None:
            raise SecurityError(f"str.{value.__name__} is out of a template's reach")
        return None

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuse loudly what leads out of the sandbox; Jinja2 would only show nothing."""
        raise SecurityError(f"{attribute!r} is out of a template's reach")

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _Ticks().visit(tree)
        tree.set_environment(self)
        return tree


class _Ticks(NodeTransformer):
    """Puts a look at the clock into every template and loop, and counts a template's own text."""

    def visit_Template(self, node: nodes.Template) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_calling("tick"), lineno=1))
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_calling("tick"), lineno=node.lineno))
        if node.test:
            node.test = nodes.And(nodes.Not(_calling("tick")), node.test, lineno=node.lineno)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _calling("weighed", node.expr)
        for operand in node.ops:
            operand.expr = _calling("weighed", operand.expr)
        return node

    def visit_Output(self, node: nodes.Output) -> list[nodes.Node]:
        self.generic_visit(node)
        own = "".join(part.data for part in node.nodes if isinstance(part, nodes.TemplateData))
        spend = nodes.ExprStmt(_calling("spend", nodes.Const(own)), lineno=node.lineno)
        return [spend, node] if own else [node]


def _calling(name: str, *args: nodes.Expr) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), list(args), [], None, None)


def _weight(operator: str, left: Any, right: Any) -> int:
    """Return about how many characters or digits an operation makes."""
    if operator == "%":
        return 0
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


def _heft(value: Any) -> int:
    """Return about how many bytes a value holds; MAX_HEFT and more are not told apart."""
    if isinstance(value, str):
        return 64 + len(value)
    heft, left = 0, [iter((value,))]
    while left and heft <= MAX_HEFT:
        for item in left[-1]:
            heft += 64 + (len(item) if isinstance(item, str | bytes) else 0)
            entries = _entries(item)
            if entries is not None:
                left.append(entries)
                break
            if heft > MAX_HEFT:
                break
        else:
            left.pop()
    return heft


def _entries(value: Any) -> Iterator[Any] | None:
    if isinstance(value, Mapping):
        return (part for pair in value.items() for part in pair)
    return iter(value) if isinstance(value, list | tuple | set) else None


def _refuse_wide(form: str) -> None:
    """Refuse a %-format whose widths are together above MAX_NUMBER, or come from a value."""
    if "*" in form or sum(int(digits) for digits in re.findall(r"\d{1,18}", form)) > MAX_NUMBER:
        raise TooCostlyError(f"formats to a width above {MAX_NUMBER}")


def _refuse_large(arguments: Sequence[Any]) -> None:
    for value in arguments:
        if isinstance(value, int) and abs(value) > MAX_NUMBER:
            raise TooCostlyError(f"hands over a number above {MAX_NUMBER}")


def _no_larger(made: Any) -> Any:
    if isinstance(made, str | bytes) and len(made) > MAX_OUTPUT:
        raise TooCostlyError(f"makes more than {MAX_OUTPUT} characters")
    return made
