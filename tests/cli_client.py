"""What the tests of several commands share."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from bridge.model import Outcome, Verdict

Cli = Callable[..., Result]
EndAll = Callable[[Outcome], int]

PARKED = Outcome(Verdict.PARK, "invalid_parameter", "bad\x1b[2J text", 40058)
SENT = Outcome(Verdict.SENT, "ok", "ok", 0)


def change(folder: Path, statement: str, *values: object) -> None:
    """Execute a statement in the database of a test's folder."""
    connection = sqlite3.connect(folder / "bridge.db")
    with connection:
        connection.execute(statement, values)
    connection.close()
