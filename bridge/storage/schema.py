"""Which schema a database must have, and how it gets it.

The tables stand in `migrations/versions/`; a change of them is a new migration and VERSION. What
the columns hold is said there.
"""

import os
import subprocess
import sys
from pathlib import Path

from bridge.errors import SchemaError, StorageError

VERSION = "0002"  # the newest migration
_MIGRATIONS = Path(__file__).parent / "migrations"


def is_current(found: str) -> bool:
    """Tell whether the version in a database, '' where there is none, is the one needed.

    Raises SchemaError where it is newer than this code.
    """
    if found > VERSION:
        raise SchemaError(
            f"its schema is {found!r}, and this version of the bridge knows up to {VERSION!r}: "
            "deploy the version that wrote it, or a newer one"
        )
    return found == VERSION


def upgrade(url: str) -> None:
    """Bring a database's schema up to date in a process of its own; raises StorageError.

    Of many processes that start together one does it, and the others wait.
    """
    done = subprocess.run(
        [sys.executable, str(_MIGRATIONS)],
        env={**os.environ, "DATABASE_URL": url},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = done.stderr.strip().split("\n")[-1]
        raise StorageError(f"the schema could not be brought up to date: {reason}")
