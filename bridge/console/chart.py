"""Events per hour as bars of an SVG picture; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 480.0, 96.0  # of the picture's view box
_GAP = 4.0


@dataclass(frozen=True)
class Bar:
    """One hour: since when (epoch seconds), how many, and where its bar stands."""

    begin: float
    count: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Chart:
    """The bars of a picture, the most that one of them stands for, and how many in all."""

    bars: Sequence[Bar]
    most: int
    total: int


def bars(hours: Sequence[tuple[float, int]]) -> Chart:
    """Return the bars for hours with their numbers; an hour with any event has a visible bar."""
    most = max((count for _, count in hours), default=0)
    step = WIDTH / max(len(hours), 1)
    found = []
    for n, (begin, count) in enumerate(hours):
        height = max(3.0, HEIGHT * count / most) if count else 1.0
        found.append(
            Bar(
                begin,
                count,
                round(n * step + _GAP / 2, 1),
                round(HEIGHT - height, 1),
                round(step - _GAP, 1),
                round(height, 1),
            )
        )
    return Chart(found, most, sum(count for _, count in hours))
