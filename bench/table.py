"""The rows of the benchmark, and the table that they become."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from load import WRK


@dataclass(frozen=True)
class Reach:
    """What a figure should come to: at least, or at most, `limit`."""

    sign: str
    limit: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.sign} {self.limit:g}{self.unit}"

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.sign == "≥" else value <= self.limit


@dataclass(frozen=True)
class Row:
    """One figure, what it should reach, and what each checkout came to."""

    figure: str
    reach: Reach
    measured: Sequence[str]
    good: bool


def report(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Return bench/RESULTS.md."""
    lines = [
        "# Results of `make bench`",
        "",
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, load by {'wrk' if WRK else 'threads'}; "
        "client, stand-in for WeCom and server share the cores.",
        "",
        f"| figure | reach | {' | '.join(names)} | |",
        f"|---|---|{'---|' * len(names)}---|",
    ]
    for row in rows:
        mark = "✓" if row.good else "✗"
        lines.append(f"| {row.figure} | {row.reach} | {' | '.join(row.measured)} | {mark} |")
    return "\n".join(lines) + "\n"
