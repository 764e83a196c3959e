"""`bridge url`: what to paste into Pgyer."""

import os

import click

from bridge import configure
from bridge.cli.common import json_option
from bridge.cli.terminal import Terminal

_PLACEHOLDER = "https://<your-app>"
_STEPS = (
    "蒲公英 In Pgyer: 应用 → 设置 → Webhook 设置 → 创建 Webhook：类型选「其他指定URL」，"
    "粘贴地址，选择订阅内容，状态「开启」，保存"
)


@click.command()
@json_option
def url(as_json: bool) -> None:
    """要粘贴到蒲公英的地址（含口令）· The addresses to paste into Pgyer; secret."""
    config, _ = configure(os.environ)
    terminal = Terminal()  # hides no secrets: these addresses contain the token
    base = f"{config.public_url or _PLACEHOLDER}/pgyer/{config.tokens[0].reveal()}"
    bots = {name: f"{base}/{name}" for name in config.bots}
    if as_json:
        terminal.json({"url": base, "bots": bots})
        return
    rows = [("按路由 by the routes", base)]
    rows += [(f"只给 only to {name}", address) for name, address in bots.items()]
    terminal.table(rows)
    terminal.say(_STEPS, err=True)
    if not config.public_url:
        hint = "是本服务的网址：请设 set BRIDGE_PUBLIC_URL · is the bridge's own address"
        terminal.say(f"{_PLACEHOLDER} {hint}", err=True)
