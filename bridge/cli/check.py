"""`bridge check`: is everything as it should be, and if not, what to do."""

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import click

from bridge.cli.common import database_name, json_option, opened
from bridge.cli.meanings import advice, meaning
from bridge.cli.terminal import Terminal, moment
from bridge.console.ops import LATE
from bridge.delivery.wecom import Client, proxy_problems
from bridge.errors import SettingsError, StorageError
from bridge.model import Event, Outcome, Target, Verdict
from bridge.storage.operator import TEST
from bridge.wiring import Bridge

DAY = 86400.0  # seconds


@dataclass(frozen=True)
class Finding:
    """One line of the check; `todo` is '' where all is well."""

    ok: bool
    about: str
    text: str
    todo: str = ""

    def line(self) -> str:
        """Return what a reader sees."""
        mark = "ok" if self.ok else "!!"
        return f"{mark} {self.about}: {self.text}" + (f" → {self.todo}" if self.todo else "")


@click.command()
@click.option("--send", is_flag=True, help="给每个机器人发一条测试消息 · Send each bot a test.")
@json_option
def check(send: bool, as_json: bool) -> None:
    """检查设置、规则、模板、数据库、机器人 · Is everything as it should be?"""
    try:
        with opened() as (bridge, terminal):
            found = _reported(terminal, _findings(bridge, send), as_json)
    except SettingsError as error:
        wrong = (Finding(False, "设置 settings", problem) for problem in error.problems)
        _reported(Terminal(), wrong, as_json)
        raise click.exceptions.Exit(2) from None
    if not all(finding.ok for finding in found):
        raise click.exceptions.Exit(1)


def _reported(terminal: Terminal, findings: Iterator[Finding], as_json: bool) -> list[Finding]:
    """Print the findings, each as soon as it is known unless they are to be JSON."""
    found = []
    for finding in findings:
        found.append(finding)
        if not as_json:
            terminal.say(finding.line())
    if as_json:
        terminal.json([asdict(finding) for finding in found])
    return found


def _findings(bridge: Bridge, send: bool) -> Iterator[Finding]:
    yield from _settings(bridge)
    yield from _routes(bridge)
    yield from _templates(bridge)
    stopped: dict[str, str] = {}
    try:
        yield from _database(bridge)
        stopped = {bot.name: bot.stopped for bot in bridge.queries.bots(0.0)}
        if not send:
            yield from _bots(bridge)
    except StorageError as error:
        todo = "看 DATABASE_URL：文件夹在吗、可写吗，服务器开着吗 · is it there and writable?"
        yield Finding(False, "数据库 database", f"{database_name(bridge.settings)}: {error}", todo)
    if send:
        yield from _sent(bridge, stopped)


def _settings(bridge: Bridge) -> Iterator[Finding]:
    about = "设置 settings"
    yield Finding(True, about, f"机器人 bots {', '.join(sorted(bridge.settings.bots))}")
    urls = [bot.webhook.reveal() for bot in bridge.settings.bots.values()]
    for warning in [*bridge.settings.warnings, *proxy_problems(os.environ, urls)]:
        yield Finding(False, about, warning)


def _routes(bridge: Bridge) -> Iterator[Finding]:
    file, about = bridge.settings.routes, "规则 routes"
    if not file:
        yield Finding(True, about, "没有文件，都发给 default · no file: all goes to default")
        return
    yield Finding(True, about, f"{file}: {len(bridge.routes)} 条 rules")
    takes_all = 0
    for route in bridge.routes:
        where = f"{file}, rule {route.rule}"
        if takes_all:
            text = f"{where}: 轮不到 · never reached"
            yield Finding(False, about, text, f"rule {takes_all} 匹配一切 matches everything")
        elif not route.conditions and not route.continues:
            takes_all = route.rule
        if route.template and not bridge.renderer.knows(route.template):
            text = f"{where}: 没有模板 · there is no template {route.template!r}"
            todo = f"{bridge.settings.templates}/{route.template}.<msgtype>.j2"
            yield Finding(False, about, text, f"补上 add {todo}")


def _templates(bridge: Bridge) -> Iterator[Finding]:
    folder, about = bridge.settings.templates, "模板 templates"
    problems = bridge.renderer.problems
    if not problems:
        number = sum(not path.name.startswith("_") for path in folder.glob("*.j2"))
        yield Finding(True, about, f"{folder}: {number} 个 files")
    for problem in problems:
        yield Finding(False, about, f"{folder}/{problem}", "改正这一行 · mend this line")


def _database(bridge: Bridge) -> Iterator[Finding]:
    about = "数据库 database"
    bridge.outbox.open()
    now = bridge.outbox.database.time()
    health = bridge.queries.health()
    name = database_name(bridge.settings)
    yield Finding(True, about, f"{name}: 可写 writable, 待发 pending {health.pending}")
    if health.oldest and now - health.oldest > LATE:
        since = moment(health.oldest, bridge.settings.timezone)
        text = f"最早的从 {since} 等到现在 · the oldest waits since then"
        yield Finding(False, about, text, "桥在运行吗 · does the bridge run? See its log, /readyz")
    if parked := len(bridge.queries.delivery_ids("parked", now - DAY)):
        text = f"一天内有 {parked} 条被拒收 · {parked} parked within a day"
        yield Finding(False, about, text, "bridge events --state parked --since 1d")


def _bots(bridge: Bridge) -> Iterator[Finding]:
    """Say how the bots stand by what is on record."""
    for bot in bridge.queries.bots(0.0):
        about = f"机器人 bot {bot.name}"
        if bot.stopped:
            todo = f"{advice(bot.stopped)}; bridge retry --bot {bot.name}"
            yield Finding(False, about, f"停用 stopped: {meaning(bot.stopped)}", todo)
        elif bot.last_at:
            when = moment(bot.last_at, bridge.settings.timezone)
            ok = bot.last_reason == "ok"
            todo = "" if ok else f"bridge check --send; bridge events --bot {bot.name}"
            yield Finding(ok, about, f"{when} {meaning(bot.last_reason)}", todo)
        else:
            yield Finding(True, about, "还没发过 · nothing sent yet: bridge check --send")


def _sent(bridge: Bridge, stopped: dict[str, str]) -> Iterator[Finding]:
    """Send each bot a test message, past the outbox, and say what came of it."""
    client, now = Client(), time.time()
    for name, bot in sorted(bridge.settings.bots.items()):
        event = Event(TEST, {"bot": name, "sent_at": now}, now)
        outcome = client.send(bot, bridge.renderer.messages(event, Target(name))[0])
        yield _tested(name, outcome, bool(stopped.get(name)))


def _tested(name: str, outcome: Outcome, was_stopped: bool) -> Finding:
    about = f"机器人 bot {name}"
    code = "" if outcome.errcode is None else f" {outcome.errcode}"
    if outcome.verdict is not Verdict.SENT:
        detail = f" ({outcome.detail})" if outcome.detail else ""
        text = f"没送到 not delivered:{code} {meaning(outcome.reason)}{detail}"
        return Finding(False, about, text, advice(outcome.reason))
    said = f" ({outcome.detail})" if outcome.detail not in ("", "ok") else ""
    text = f"测试消息已送达 · the test message has arrived{said}"
    if was_stopped:
        todo = f"桥仍停用它 · the bridge holds it stopped: bridge retry --bot {name}"
        return Finding(False, about, text, todo)
    return Finding(True, about, text)
