"""`bridge check`: is everything right, and if not, what to do."""

import os
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass

import click

from bridge.cli.common import database_name, json_option, open_bridge
from bridge.cli.terminal import Terminal, local_time
from bridge.delivery.wecom import Client, proxy_problems
from bridge.errors import SettingsError, StorageError
from bridge.model import LATE, Event, Target, Verdict
from bridge.storage.operator import TEST
from bridge.storage.queries import BotLine
from bridge.wiring import Bridge
from bridge.wording import advice, meaning

DAY = 86400.0  # seconds


@dataclass(frozen=True)
class Finding:
    """One line of the check; `todo` is '' where all is well."""

    ok: bool
    about: str
    text: str
    todo: str = ""


@click.command()
@click.option("--send", is_flag=True, help="给每个机器人发一条测试消息 · Send each bot a test.")
@json_option
def check(send: bool, as_json: bool) -> None:
    """检查设置、规则、模板、数据库、机器人 · Is everything right?"""
    try:
        with open_bridge() as (bridge, terminal):
            found = _report(terminal, _findings(bridge, send), as_json)
    except SettingsError as error:
        wrong = (Finding(False, "设置 settings", problem) for problem in error.problems)
        _report(Terminal(), wrong, as_json)
        raise click.exceptions.Exit(2) from None
    if not all(finding.ok for finding in found):
        raise click.exceptions.Exit(1)


def _report(terminal: Terminal, findings: Iterator[Finding], as_json: bool) -> list[Finding]:
    """Print the findings, each as soon as it is known unless they are to be JSON."""
    found = []
    for finding in findings:
        found.append(finding)
        if not as_json:
            todo = f" → {finding.todo}" if finding.todo else ""
            terminal.say(f"{'ok' if finding.ok else '!!'} {finding.about}: {finding.text}{todo}")
    if as_json:
        terminal.json([asdict(finding) for finding in found])
    return found


def _findings(bridge: Bridge, send: bool) -> Iterator[Finding]:
    yield from _settings(bridge)
    yield from _routes(bridge)
    yield from _templates(bridge)
    yield from _heartbeat(bridge)
    bots: Sequence[BotLine] = ()
    try:
        yield from _database(bridge)
        bots = bridge.queries.bots(0.0)
    except StorageError as error:
        todo = "看 DATABASE_URL：文件夹在吗、可写吗，服务器开着吗 · is it there and writable?"
        yield Finding(False, "数据库 database", f"{database_name(bridge.settings)}: {error}", todo)
    stopped = {bot.name for bot in bots if bot.stopped}
    yield from _sent(bridge, stopped) if send else _bots(bridge, bots)


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
            text = f"{where}: 永远执行不到 · never reached"
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
        yield Finding(False, about, f"{folder}/{problem}", "改正这一行 · correct this line")


def _heartbeat(bridge: Bridge) -> Iterator[Finding]:
    about = "心跳 heartbeat"
    if not bridge.heartbeat:
        text = "没有设置 BRIDGE_HEARTBEAT_URL：服务停了没有人知道 · not set: nobody would notice"
        yield Finding(True, about, text)
    elif failure := bridge.heartbeat.call([]):
        text = f"BRIDGE_HEARTBEAT_URL: {failure}"
        yield Finding(False, about, text, "检查这个地址和网络 · check the address and the network")
    else:
        yield Finding(True, about, "监控已收到 · the monitor was called")


def _database(bridge: Bridge) -> Iterator[Finding]:
    about = "数据库 database"
    bridge.outbox.database.open()
    now = bridge.outbox.database.time()
    health = bridge.queries.health()
    name = database_name(bridge.settings)
    yield Finding(True, about, f"{name}: 可写 writable, 待发 pending {health.pending}")
    if health.oldest and now - health.oldest > LATE:
        since = local_time(health.oldest, bridge.settings.timezone)
        text = f"最早的从 {since} 等到现在 · the oldest is pending since then"
        yield Finding(
            False, about, text, "服务在运行吗 · does the bridge run? See its log, /readyz"
        )
    if parked := bridge.queries.unsent_counts(now - DAY).get("parked"):
        text = f"一天内有 {parked} 条发送失败 · {parked} parked within a day"
        yield Finding(False, about, text, "bridge events --state parked --since 1d")


def _bots(bridge: Bridge, bots: Sequence[BotLine]) -> Iterator[Finding]:
    """Check each bot by its recorded state, without a call."""
    for bot in bots:
        about = f"机器人 bot {bot.name}"
        if bot.stopped:
            todo = f"{advice(bot.stopped, bot.name)} bridge retry --bot {bot.name}"
            yield Finding(False, about, f"已停用 stopped: {meaning(bot.stopped)}", todo)
        elif bot.last_attempt_at:
            when = local_time(bot.last_attempt_at, bridge.settings.timezone)
            ok = bot.last_reason == "ok"
            todo = "" if ok else f"bridge check --send; bridge events --bot {bot.name}"
            yield Finding(ok, about, f"{when} {meaning(bot.last_reason)}", todo)
        else:
            yield Finding(True, about, "还没发过 · nothing sent yet: bridge check --send")


def _sent(bridge: Bridge, stopped: Collection[str]) -> Iterator[Finding]:
    """Send each bot a test message, without the outbox, and report the outcome."""
    client, now = Client(), time.time()
    for name, bot in sorted(bridge.settings.bots.items()):
        event = Event(TEST, {"bot": name, "sent_at": now}, now)
        outcome = client.send(bot, bridge.renderer.messages(event, Target(name))[0])
        detail = f" ({outcome.detail})" if outcome.detail not in ("", "ok") else ""
        ok, text, todo = True, f"测试消息已送达 · the test message has arrived{detail}", ""
        if outcome.verdict is not Verdict.SENT:
            code = "" if outcome.errcode is None else f" {outcome.errcode}"
            text = f"没送到 not delivered:{code} {meaning(outcome.reason)}{detail}"
            ok, todo = False, advice(outcome.reason, name)
        elif name in stopped:
            still = "本服务仍将它停用 · the bridge still has it stopped"
            ok, todo = False, f"{still}: bridge retry --bot {name}"
        yield Finding(ok, f"机器人 bot {name}", text, todo)
