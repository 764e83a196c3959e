"""What the tests of the whole program share."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

from support import Deployment

from bridge.sandbox import Sandbox

Deploy = Callable[..., Deployment]
Served = tuple[Sandbox, str]

DEFAULT, DEV = "key-of-default", "key-of-dev"


def contents(box: Sandbox, key: str | None = None) -> list[str]:
    """What the groups have got, as the text of each message."""
    return [call.payload[call.msgtype].get("content", "") for call in box.messages(key)]


def new_version(n: int = 0) -> str:
    return json.dumps({"type": "updateVersion", "title": f"App {n}"})


def rows(tmp_path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(f"file:{tmp_path}/bridge.db?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
