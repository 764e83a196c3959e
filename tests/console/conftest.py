"""Fixtures of the tests of the console."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from console_client import Console, serve


@pytest.fixture(autouse=True)
def _dispatching(monkeypatch: pytest.MonkeyPatch) -> None:
    """No dispatcher runs in these tests; the pages must not report that as a problem."""
    monkeypatch.setattr("bridge.delivery.dispatcher.Dispatcher.alive", property(lambda self: True))


@pytest.fixture
def visitor(tmp_path: Path) -> Iterator[Console]:
    """A console and a client that has not signed in."""
    console = serve(tmp_path)
    yield console
    console.bridge.close()


@pytest.fixture
def console(visitor: Console) -> Console:
    """A console and a client that has signed in, and one event for `default`."""
    visitor.sign_in()
    visitor.event({"type": "updateVersion", "title": "OooPlay", "os_version": "2.4"})
    return visitor
