"""The page of bots, and the order in which pages list them."""

import re
from collections.abc import Iterable, Sequence

from flask import render_template
from flask.typing import ResponseReturnValue

from bridge.console.blueprint import console
from bridge.storage.queries import BotLine
from bridge.wiring import bridge


@console.get("/bots")
def bots() -> ResponseReturnValue:
    return render_template("console/bots.html", bots=bot_lines(), rate=bridge.settings.rate)


def bot_lines() -> Sequence[BotLine]:
    """Return every bot's condition: those in trouble first, then as people count their names.

    Among them are those that were taken out of the settings, while deliveries wait for them.
    """
    now = bridge.clock()
    found = bridge.queries.bots(now, with_removed=True)
    return sorted(found, key=lambda bot: (_trouble(bot, now), _natural(bot.name)))


def in_order(names: Iterable[str]) -> list[str]:
    """Return names as people count them: `team_2` before `team_10`, and `default` before all."""
    return sorted(names, key=lambda name: (name != "default", _natural(name)))


def _trouble(bot: BotLine, now: float) -> int:
    if bot.stopped:
        return 0
    if bot.rest_until > now:
        return 1 if bot.failures else 2
    return 3 if bot.last_reason in ("", "ok") else 2


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which numbers in names are compared as numbers."""
    parts = re.split("([0-9]+)", name)
    return [(int(part or 0), "") if n % 2 else (0, part) for n, part in enumerate(parts)]
