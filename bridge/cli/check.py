"""`bridge check`: is everything right, and if not, what to do."""

import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import click

from bridge.cli.common import database_name, database_problem, json_option, open_bridge
from bridge.cli.terminal import Terminal, local_time
from bridge.delivery.heartbeat import EVERY
from bridge.delivery.wecom import Client, proxy_problems
from bridge.errors import PgyerError, SettingsError, StorageError
from bridge.model import LATE, Event, Target, Verdict
from bridge.platforms import ADVICE, database_loss
from bridge.storage.operator import TEST
from bridge.storage.queries import REMOVED, BotLine
from bridge.wiring import Bridge
from bridge.wording import N_, advice, asked_outcome, detail, meaning
from bridge.wording import gettext as _

DAY = 86400.0  # seconds
_MARKS = {"ok": "ok", "remark": "??", "problem": "!!"}
_ABOUT = {
    "settings": N_("settings"),
    "routes": N_("routes"),
    "templates": N_("templates"),
    "heartbeat": N_("heartbeat"),
    "pgyer": N_("Pgyer"),
    "database": N_("database"),
    "bot": N_("bot"),
}


@dataclass(frozen=True)
class Finding:
    """One line of the check: its text and what to do, for people; `code` and `command` for JSON.

    `about` is a key of _ABOUT, with a bot's name behind it.
    """

    level: str  # a key of _MARKS
    about: str
    code: str
    text: str
    todo: str = ""
    command: str = ""

    def line(self) -> str:
        """Return it as people read it."""
        kind, _blank, name = self.about.partition(" ")
        todo = " ".join(filter(None, (self.todo, self.command)))
        about = " ".join(filter(None, (_(_ABOUT[kind]), name)))
        return f"{_MARKS[self.level]} {about}: {self.text}" + (f" → {todo}" if todo else "")

    def neutral(self) -> dict[str, object]:
        """Return it as scripts read it, without a text in any language."""
        ok = self.level != "problem"
        return {"ok": ok, "about": self.about, "text": self.code, "todo": self.command}


@click.command()
@click.option("--send", is_flag=True, help="Send each bot a test message.")
@json_option
def check(send: bool, as_json: bool) -> None:
    """Check settings, routes, templates, database and bots."""
    try:
        with open_bridge() as (bridge, terminal):
            found = _report(terminal, _findings(bridge, send), as_json)
    except SettingsError as error:
        wrong = (Finding("problem", "settings", _first(text), text) for text in error.problems)
        _report(Terminal(), wrong, as_json)
        raise click.exceptions.Exit(2) from None
    if any(finding.level == "problem" for finding in found):
        raise click.exceptions.Exit(1)


def _first(problem: str) -> str:
    """Return the variable, or the file and line, that a problem is about: it begins with it."""
    return problem.split()[0].rstrip(":：,")


def _report(terminal: Terminal, findings: Iterator[Finding], as_json: bool) -> list[Finding]:
    """Print the findings, each as soon as it is known unless they are to be JSON."""
    found = []
    for finding in findings:
        found.append(finding)
        if not as_json:
            terminal.say(finding.line())
    if as_json:
        terminal.json([finding.neutral() for finding in found])
    return found


def _findings(bridge: Bridge, send: bool) -> Iterator[Finding]:
    yield from _settings(bridge)
    yield from _routes(bridge)
    yield from _templates(bridge)
    yield from _heartbeat(bridge)
    yield from _pgyer(bridge)
    if loss := database_loss(bridge.settings.database_url.reveal(), os.environ):
        yield Finding("remark", "database", "emptied", loss, _(ADVICE))
    bots: Sequence[BotLine] = ()
    try:
        yield from _database(bridge)
        bots = bridge.queries.bots(0.0, with_removed=True)
    except StorageError as error:
        text, todo = database_problem(bridge.settings, error)
        yield Finding("problem", "database", "unusable", text, todo)
    stopped = {bot.name for bot in bots if bot.stopped}
    if send:
        yield from _sent(bridge, stopped)
        bots = [bot for bot in bots if bot.stopped == REMOVED]  # to which nothing can be sent
    yield from _bots(bridge, bots)


def _settings(bridge: Bridge) -> Iterator[Finding]:
    names = ", ".join(sorted(bridge.settings.bots))
    yield Finding("ok", "settings", "ok", _("bots %(names)s", names=names))
    urls = [bot.webhook.reveal() for bot in bridge.settings.bots.values()]
    for warning in [*bridge.settings.warnings, *proxy_problems(os.environ, urls)]:
        yield Finding("problem", "settings", _first(warning), warning)


def _routes(bridge: Bridge) -> Iterator[Finding]:
    file = bridge.settings.routes
    if not file:
        yield Finding("ok", "routes", "no_file", _("no file: all goes to default"))
        return
    text = _("%(file)s: %(count)s rules", file=file, count=len(bridge.routes))
    if not bridge.routes:
        text = _("%(file)s: no rules, all goes to default", file=file)
    yield Finding("ok", "routes", "ok", text)
    takes_all = 0
    for route in bridge.routes:
        if takes_all:
            text = _("%(file)s, rule %(rule)s: never reached", file=file, rule=route.rule)
            todo = _("rule %(rule)s matches everything", rule=takes_all)
            yield Finding("problem", "routes", f"never_reached {route.rule}", text, todo)
        elif not route.conditions and not route.continues:
            takes_all = route.rule
        if route.template and not bridge.renderer.knows(route.template):
            text = N_("%(file)s, rule %(rule)s: there is no template %(name)r")
            text = _(text, file=file, rule=route.rule, name=route.template)
            path = bridge.settings.templates / f"{route.template}.<msgtype>.j2"
            todo = _("add %(path)s", path=path)
            yield Finding("problem", "routes", f"no_template {route.rule}", text, todo)


def _templates(bridge: Bridge) -> Iterator[Finding]:
    folder, findings = bridge.settings.templates, bridge.renderer.findings
    if not any(findings.values()):
        count = sum(not name.startswith("_") for name in bridge.renderer.files)
        text = _("%(folder)s: %(count)s files", folder=folder, count=count)
        yield Finding("ok", "templates", "ok", text)
    saved = bridge.template_versions.texts()
    shown = set()  # a broken helper is found in each file that uses it
    for file, one in ((file, one) for file, found in sorted(findings.items()) for one in found):
        if (code := one.neutral(file)) not in shown:
            shown.add(code)
            level = "problem" if one.level == "error" else "remark"
            text = one.located(file)
            is_saved = (one.file or file) in saved
            text = f"{text} ({_('edited in the console')})" if is_saved else f"{folder}/{text}"
            yield Finding(level, "templates", code, text)


def _heartbeat(bridge: Bridge) -> Iterator[Finding]:
    if not bridge.heartbeat:
        text = _("BRIDGE_HEARTBEAT_URL is not set: nobody would notice a stop")
        yield Finding("ok", "heartbeat", "not_set", text)
        return
    now, is_running = bridge.clock(), False
    with suppress(StorageError):
        is_running = bridge.shared.was_done("heartbeat", now, now - 2 * EVERY)
    if not is_running:  # a call from here would let the monitor believe that it is
        text = _("not called: no call by the bridge is known of the last minutes; does it run?")
        yield Finding("remark", "heartbeat", "not_called", text)
    elif failure := bridge.heartbeat.call(bridge.readiness().problems):
        text, todo = f"BRIDGE_HEARTBEAT_URL: {failure}", _("check the address and the network")
        yield Finding("problem", "heartbeat", "failed", text, todo)
    else:
        yield Finding("ok", "heartbeat", "ok", _("the monitor was called"))


def _pgyer(bridge: Bridge) -> Iterator[Finding]:
    """Try the key of Pgyer's API, where there is one."""
    if not bridge.pgyer:
        return
    try:
        apps = bridge.pgyer.watch.count_apps()
    except PgyerError as error:
        text = asked_outcome(error.outcome, error.code)
        todo = _("see PGYER_API_URL and the network")
        if error.outcome == "wrong_key":
            todo = _("copy the API Key anew: Pgyer → API → API Key, into PGYER_API_KEY")
        yield Finding("problem", "pgyer", error.outcome, text, todo)
    else:
        text = _("the key is good: %(count)s apps on the first page", count=apps)
        yield Finding("ok", "pgyer", "ok", text)


def _database(bridge: Bridge) -> Iterator[Finding]:
    bridge.outbox.database.open()
    now = bridge.outbox.database.time()
    health = bridge.queries.health()
    text = N_("%(database)s: writable, %(count)s pending")
    text = _(text, database=database_name(bridge.settings), count=health.pending)
    yield Finding("ok", "database", "ok", text)
    if health.oldest and now - health.oldest > LATE:
        since = local_time(health.oldest, bridge.settings.timezone)
        text = N_("the oldest delivery, for %(bot)s, is pending since %(since)s")
        text = _(text, bot=health.oldest_bot, since=since)
        is_known = health.oldest_bot in bridge.settings.bots
        todo = _("does the bridge run? See its log and /readyz") if is_known else ""
        yield Finding("problem", "database", "late", text, todo)
    if parked := bridge.queries.unsent_counts(now - DAY).get("parked"):
        text = _("%(count)s deliveries failed within a day", count=parked)
        command = "bridge events --state parked --since 1d"
        yield Finding("problem", "database", f"parked {parked}", text, command=command)


def _bots(bridge: Bridge, bots: Sequence[BotLine]) -> Iterator[Finding]:
    """Check each bot by its recorded state, without a call."""
    for bot in bots:
        about = f"bot {bot.name}"
        if bot.stopped:
            text = _("stopped: %(why)s", why=meaning(bot.stopped))
            todo, command = advice(bot.stopped, bot.name), f"bridge retry --bot {bot.name}"
            if bot.stopped in ("invalid_webhook", "wrong_address", REMOVED):
                command = ""  # after a new start it is tried by itself
            yield Finding("problem", about, bot.stopped, text, todo, command)
        elif not bot.last_attempt_at:
            text = _("nothing was sent yet")
            yield Finding("ok", about, "nothing_sent", text, command="bridge check --send")
        else:
            when = local_time(bot.last_attempt_at, bridge.settings.timezone)
            reason, text = bot.last_reason, f"{when} {meaning(bot.last_reason)}"
            if reason == "ok":
                yield Finding("ok", about, reason, text)
                continue
            command, rests = f"bridge events --bot {bot.name}", bot.rest_until > bridge.clock()
            if not rests:  # else the bridge calls next, and a test would count for the rate
                command = f"bridge check --send; {command}"
            level = "remark" if rests and not bot.failures else "problem"
            yield Finding(level, about, reason, text, advice(reason, bot.name), command)


def _sent(bridge: Bridge, stopped: Collection[str]) -> Iterator[Finding]:
    """Send each bot a test message, without the outbox, and report the outcome."""
    client, now = Client(), time.time()
    for name, bot in sorted(bridge.settings.bots.items()):
        event, about = Event(TEST, {"bot": name, "sent_at": now}, now), f"bot {name}"
        outcome = client.send(bot, bridge.renderer.messages(event, Target(name))[0])
        words = detail(outcome.reason, outcome.errcode, outcome.detail)
        more = f" ({words})" if words else ""
        if outcome.verdict is not Verdict.SENT:
            code = "" if outcome.errcode is None else f"{outcome.errcode} "
            why = f"{code}{meaning(outcome.reason)}{more}"
            text = _("the test message was not delivered: %(why)s", why=why)
            yield Finding("problem", about, outcome.reason, text, advice(outcome.reason, name))
        elif name in stopped:
            text = _("the test message has arrived, but the bridge still has the bot stopped")
            command = f"bridge retry --bot {name}"
            todo = _("restart the bridge if its key is new, otherwise:")
            yield Finding("problem", about, "still_stopped", text + more, todo, command)
        else:
            yield Finding("ok", about, "ok", _("the test message has arrived") + more)
