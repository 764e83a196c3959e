"""A SQLite database of the bridge from outside: filled with old events, and watched for locks."""

import sqlite3
import time
from contextlib import closing

OLD = 86400.0  # seconds that the stored events are old

# Columns whose values matter, under the names that they have in one version or another.
_EVENTS = {
    "id": "n",
    "type": "'updateVersion'",
    "title": "'OooPlay'",
    "device_type": "'iOS'",
    "os_version": "'2.4'",
    "build_version": "CAST(n AS TEXT)",
    "link": "'https://a.b/c'",
    "payload": """'{"title": "OooPlay"}'""",
    "raw": "x'7b7d'",
    **dict.fromkeys(("digest", "payload_hash"), "hex(randomblob(32))"),
}
_DELIVERIES = {
    "event_id": "n",
    "bot": "'default'",
    "state": "'sent'",
    "expires_at": "moment + 86400",
    "media_at": "0",
    **dict.fromkeys(("mention", "attach"), "'[]'"),
    **dict.fromkeys(("step", "messages_sent", "tries"), "1"),
}
_EMPTY = {"INTEGER": "0", "REAL": "0", "FLOAT": "0", "BLOB": "x''"}


def fill(path: str, count: int) -> None:
    """Store events of yesterday, each sent to the bot `default`."""
    with closing(sqlite3.connect(path)) as connection:
        for table, known in (("events", _EVENTS), ("deliveries", _DELIVERIES)):
            values = _values(connection, table, known)
            connection.execute(
                "WITH RECURSIVE numbers (n, moment) AS (SELECT 1, :old UNION ALL "
                "SELECT n + 1, moment + 0.01 FROM numbers WHERE n < :count) "
                f"INSERT INTO {table} ({', '.join(values)}) "
                f"SELECT {', '.join(values.values())} FROM numbers",
                {"old": time.time() - OLD, "count": count},
            )
        connection.commit()


def _values(connection: sqlite3.Connection, table: str, known: dict[str, str]) -> dict[str, str]:
    """Return an SQL expression for each column of a table that must have a value."""
    values = {}
    for _, name, kind, is_required, default, is_key in connection.execute(
        f"PRAGMA table_info({table})"
    ):
        if name in known:
            values[name] = known[name]
        elif name.endswith("_at"):
            values[name] = "moment"
        elif is_required and default is None and not is_key:
            values[name] = _EMPTY.get(kind.upper(), "''")
    return values


def count_events(path: str) -> int:
    """Return how many events are stored."""
    with closing(sqlite3.connect(path)) as connection:
        [(number,)] = connection.execute("SELECT count(*) FROM events")
        return int(number)


def longest_lock(path: str, seconds: float) -> float:
    """Return the longest span (s) within so many seconds in which nobody else could write."""
    longest, since, end = 0.0, None, time.perf_counter() + seconds
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        while (now := time.perf_counter()) < end:
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
                since = None
            except sqlite3.OperationalError:
                since = now if since is None else since
                longest = max(longest, time.perf_counter() - since)
            time.sleep(0.0005)
    return longest
