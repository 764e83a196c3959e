"""routes.toml → Routes; Event → Targets: the bots that an event is sent to, how and when; pure."""

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from bridge.errors import WrongValueError
from bridge.messages.mentions import read_mentions
from bridge.model import NAMED, Event, Route, Routed, Target, as_text
from bridge.receiving.event_types import read_type
from bridge.wording import N_, gettext, nearest, said

T = TypeVar("T")

# A condition's name in a rule → the event's field that it compares.
CONDITIONS = {
    "type": "type",
    "app": "title",
    "device": "device_type",
    "version": "os_version",
    "action": "action",
}
_KEYS = (*CONDITIONS, "bots", "mention", "template", "attach", "quiet", "continue")
_ATTACHMENTS = ("qrcode", "log")
_TIME = r"\s*([01]?\d|2[0-3]):([0-5]\d)\s*"
TO_DEFAULT = Route(rule=0, bots=("default",))
_NO_TEXT = N_("%(key)s must be a text, not %(value)r")
_NO_BOOL = N_("%(key)s must be true or false, not %(value)r")


def parse(text: str, file: str, bots: Collection[str] | None) -> tuple[list[Route], list[str]]:
    """Return the rules of a routes file and every problem in it, with file and line or rule.

    `bots` are the names that it may use, None for any.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        at = re.search(r"line (\d+)", str(error))
        problem = N_("%(file)s: line %(line)s is no valid TOML (%(problem)s)")
        return [], [gettext(problem, file=file, line=at[1] if at else "…", problem=error)]
    problem = N_("%(file)s: unknown key %(key)r: write each rule under [[route]]")
    problems = [gettext(problem, file=file, key=key) for key in document if key != "route"]
    tables = document.get("route", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        problem = N_("%(file)s: write each rule under [[route]], with two brackets")
        return [], [*problems, gettext(problem, file=file)]
    lines = [
        n for n, line in enumerate(text.split("\n"), 1) if re.match(r"\s*\[\[\s*route\s*]]", line)
    ]
    routes = []
    for number, table in enumerate(tables, 1):
        line = f":{lines[number - 1]}" if len(lines) == len(tables) else ""
        where = gettext("%(file)s (rule %(number)s)", file=f"{file}{line}", number=number)
        reader = _RuleReader(table, where)
        routes.append(reader.route(number, bots))
        problems += reader.problems
    return routes, problems


class _RuleReader:
    """Reads the values of one rule's table and collects what is wrong with them."""

    def __init__(self, table: dict[str, Any], where: str) -> None:
        self.table, self.where = table, where
        self.problems: list[str] = []

    def route(self, number: int, bots: Collection[str] | None) -> Route:
        """Return the rule as a Route; `bots` are the names that it may use, None for any."""
        for key in sorted(self.table.keys() - set(_KEYS)):
            self.problem("unknown key %(key)r%(hint)s", key=key, hint=_hint(key, _KEYS))
        names = tuple(map(str.lower, self.words("bots", empty=True)))
        for name in names:
            if bots is not None and name not in bots:
                known = ", ".join(sorted(bots))
                text = N_("unknown bot %(name)r%(hint)s (there are: %(known)s)")
                self.problem(text, name=name, hint=_hint(name, bots), known=known)
        template = self.value("template", str, _NO_TEXT, "")
        if template and not re.fullmatch(r"[\w.-]+", template):
            text = N_("template must be a name such as crashlog-short, not %(value)r")
            self.problem(text, value=template)
        attach = self.words("attach", empty=True) if "attach" in self.table else None
        for name in attach or ():
            if name not in _ATTACHMENTS:
                self.problem("attach knows qrcode and log, not %(name)r", name=name)
        return Route(
            rule=number,
            bots=names if "bots" in self.table else ("default",),
            conditions={
                key: self.words(key, read_type) if key == "type" else self.words(key)
                for key in CONDITIONS
                if key in self.table
            },
            mention=self.words("mention", read_mentions, empty=True),
            template=template.removesuffix(".j2"),
            attach=attach,
            quiet=self.hours(),
            continues=self.value("continue", bool, _NO_BOOL, False),
        )

    def hours(self) -> tuple[int, int] | None:
        """Return a rule's quiet hours as minutes of the day, None where it has none."""
        value = self.value("quiet", str, _NO_TEXT, "")
        if found := re.fullmatch(f"{_TIME}-{_TIME}", value):
            hours = [int(part) for part in found.groups()]
            begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
            if begin == end:
                self.problem("quiet begins when it ends: to mute for good, write bots = []")
            return begin, end
        if "quiet" in self.table:
            self.problem("quiet must be two times such as 22:00-08:00, not %(value)r", value=value)
        return None

    def words(
        self,
        key: str,
        read: Callable[[str], Iterable[str]] = lambda word: [word],
        empty: bool = False,
    ) -> tuple[str, ...]:
        """Return what `read` makes of a text or of each text in a list.

        The WrongValueError of `read` says what is wrong with a word.
        """
        value = self.table.get(key, [])
        words = value if isinstance(value, list) else [value]
        if key == "mention":  # a mobile number without quotes
            words = [str(word) if type(word) is int else word for word in words]
        good = all(isinstance(word, str) and word.strip() for word in words)
        if not good or not (words or empty):
            text = N_("%(key)s must be a text or a list of texts, not %(value)r")
            self.problem(text, key=key, value=value)
            return ()
        found: list[str] = []
        for word in map(str.strip, words):
            try:
                found += read(word)
            except WrongValueError as error:
                self.problems.append(f"{self.where}: {key} {word!r} {said(error)}")
        return tuple(dict.fromkeys(found))

    def value(self, key: str, kind: type[T], problem: str, default: T) -> T:
        """Return a value of one type; `problem` is for whoever wrote another."""
        value = self.table.get(key, default)
        if isinstance(value, kind):
            return value
        self.problem(problem, key=key, value=value)
        return default

    def problem(self, text: str, **values: object) -> None:
        """Note a problem of the rule, in the language."""
        self.problems.append(f"{self.where}: {gettext(text, **values)}")


def _hint(word: str, known: Iterable[str]) -> str:
    close = nearest(word, known)
    return gettext(", did you mean %(close)r?", close=close) if close else ""


def route(event: Event, routes: Sequence[Route], zone: tzinfo, bots: Sequence[str] = ()) -> Routed:
    """Return an event with its targets: the bots of the rules that match, or `bots` (in the URL).

    The first match wins, unless that rule says `continue`; an event that matches no rule goes to
    `default`. A bot that several rules name is one target, with the mentions and attachments of
    all of them, delayed only if every one of them has quiet hours now (in `zone`). With `bots` the
    matching rules still choose everything else.
    """
    matched = matching(event, routes)
    rules: list[int | str] = [rule.rule for rule in matched if rule is not TO_DEFAULT]
    if bots:
        matched = [replace(rule, bots=tuple(bots)) for rule in matched]
        rules.insert(0, NAMED)
    by_type = ("log",) if event.type == "crashlog" else ()
    found: dict[str, Target] = {}
    for rule in matched:
        for bot in rule.bots:
            target = Target(
                bot,
                rule.mention,
                rule.template,
                by_type if rule.attach is None else rule.attach,
                quiet_end(rule.quiet, event.received_at, zone),
            )
            found[bot] = _merged(found[bot], target) if bot in found else target
    return Routed(event, list(found.values()), rules)


def _merged(first: Target, second: Target) -> Target:
    return Target(
        first.bot,
        tuple(dict.fromkeys((*first.mention, *second.mention))),
        first.template or second.template,
        tuple(dict.fromkeys((*first.attach, *second.attach))),
        min(first.not_before, second.not_before),
    )


def quiet_end(quiet: tuple[int, int] | None, now: float, zone: tzinfo) -> float:
    """Return the epoch time at which quiet hours end, 0 where there are none now.

    They may span midnight, as `22:00-08:00` does.
    """
    if quiet is None:
        return 0.0
    begin, end = quiet
    moment = datetime.fromtimestamp(now, zone)
    minute = moment.hour * 60 + moment.minute
    inside = begin <= minute < end if begin < end else minute >= begin or minute < end
    if not inside:
        return 0.0
    ends = moment.replace(hour=end // 60, minute=end % 60, second=0, microsecond=0, fold=0)
    return (ends if ends > moment else ends + timedelta(days=1)).timestamp()


def matching(event: Event, routes: Sequence[Route]) -> list[Route]:
    """Return the rules that apply to an event; where none does, the one that sends to `default`."""
    matched = []
    for route in routes:
        if not failing(event, route):
            matched.append(route)
            if not route.continues:
                break
    return matched or [TO_DEFAULT]


def failing(event: Event, route: Route) -> list[str]:
    """Return the names of the rule's conditions that the event fails; [] means that it matches."""
    return [
        name
        for name, globs in route.conditions.items()
        if not any(_matches(value, glob) for value in compared(event, name) for glob in globs)
    ]


def compared(event: Event, condition: str) -> tuple[str, ...]:
    """Return the values that a condition compares; a type both as sent and as the bridge's name."""
    value = as_text(event.payload.get(CONDITIONS[condition]))
    return (event.type, value) if condition == "type" else (value,)


def _matches(value: str, glob: str) -> bool:
    """Compare case-insensitively; a value also matches itself where it has brackets in it."""
    value, glob = value.casefold(), glob.casefold()
    return value == glob or fnmatchcase(value, glob)
