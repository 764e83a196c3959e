"""Figures of a run: what was tried and what came of it, printed at its end."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Note a sentence about what a test has measured, for `docs/reliability.md`."""
    return lambda sentence: record_property("figure", sentence)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = terminalreporter.stats.get("passed", [])
    found = [text for one in reports for name, text in one.user_properties if name == "figure"]
    if found:
        terminalreporter.section("figures")
        for text in dict.fromkeys(found):
            terminalreporter.write_line(f"- {text}")
