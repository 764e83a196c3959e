"""Everything that the bridge raises on purpose.

BridgeError
├── SettingsError      the start is refused; carries every problem, so that one reading mends all
├── UndecodableError   a body in which no event can be found
├── TooLargeError      a body that is, or unpacks to, more than the bridge takes
└── StorageError       the database did not take a write; the sender may try again
    └── SchemaError    the database was written by a newer bridge than this one
"""

from collections.abc import Sequence


class BridgeError(Exception):
    """The root of all."""


class SettingsError(BridgeError):
    """The bridge cannot start; `problems` lists why, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))

    def report(self) -> str:
        """Return the one message that is shown to whoever starts the bridge."""
        head = f"The bridge cannot start: {len(self.problems)} problem(s) to mend first."
        return "\n".join([head, *(f"  - {problem}" for problem in self.problems)])


class UndecodableError(BridgeError):
    """No event can be found in a body; the text says what was tried last."""


class TooLargeError(BridgeError):
    """A body is larger than the limit, as it came or once unpacked."""


class StorageError(BridgeError):
    """The database did not take a write, and nothing of it was stored."""


class SchemaError(StorageError):
    """The schema in the database is not one that this version knows how to bring up to date."""
