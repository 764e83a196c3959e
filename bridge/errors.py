"""Everything that the bridge raises on purpose.

BridgeError
├── SettingsError      the start is refused; carries all problems, so that they can be fixed at once
├── WrongValueError    a value in the settings or the routes; says what to write instead
├── UndecodableError   a body without an event in it
├── TooLargeError      a body that is over the limit, as sent or decompressed
├── PgyerError         Pgyer's API did not answer, or refused
└── StorageError       a write failed and nothing of it was stored; the sender may try again
    └── SchemaError    the schema belongs to a newer bridge than this one
"""

from collections.abc import Sequence


class BridgeError(Exception):
    """The base class of all of them: an English text, and what to fill into its `%(name)s`."""

    def __init__(self, text: str, **values: object) -> None:
        self.text, self.values = text, values
        super().__init__(text % values if values else text)


class SettingsError(BridgeError):
    """The bridge cannot start; `problems` lists why, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("%(problems)s", problems="\n".join(problems))


class WrongValueError(BridgeError, ValueError):
    """A value in the settings or the routes is wrong; the text reads on after its name."""


class UndecodableError(BridgeError):
    """A body has no event in it; the text says why the last reading failed."""


class TooLargeError(BridgeError):
    """A body is over the limit, as sent or decompressed."""


class PgyerError(BridgeError):
    """Pgyer's API did not answer, or refused; `outcome` is a metric's label, `code` Pgyer's own.

    The text holds nothing of what was sent.
    """

    def __init__(self, outcome: str, text: str, code: int = 0) -> None:
        self.outcome, self.code = outcome, code
        super().__init__(text)


class StorageError(BridgeError):
    """A write to the database failed, and nothing of it was stored."""


class SchemaError(StorageError):
    """The schema in the database is one that this version cannot upgrade from."""
