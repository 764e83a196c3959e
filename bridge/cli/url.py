"""`bridge url`: what to paste into Pgyer."""

import os

import click

from bridge import configure
from bridge.cli.common import json_option
from bridge.cli.terminal import Terminal
from bridge.wording import N_
from bridge.wording import gettext as _

_PLACEHOLDER = "https://<your-app>"
_STEPS = N_(
    "In Pgyer: 应用 → 设置 → Webhook 设置 → 创建 Webhook: choose the type 其他指定URL, paste the "
    "address, choose the events under 选择订阅内容, set 状态 to 开启, and 保存"
)


@click.command()
@json_option
def url(as_json: bool) -> None:
    """The addresses to paste into Pgyer; secret."""
    config = configure(os.environ)[0]
    terminal = Terminal()  # hides no secrets: these addresses contain the token
    base = f"{config.public_url or _PLACEHOLDER}/pgyer/{config.tokens[0].reveal()}"
    bots = {name: f"{base}/{name}" for name in config.bots}
    if as_json:
        terminal.json({"url": base, "bots": bots})
        return
    rows = [(_("by the routes"), base)]
    rows += [(_("only to %(bot)s", bot=name), address) for name, address in bots.items()]
    terminal.table(rows)
    terminal.say(_(_STEPS), err=True)
    if not config.public_url:
        hint = _("%(place)s is the bridge's own address: set BRIDGE_PUBLIC_URL", place=_PLACEHOLDER)
        terminal.say(hint, err=True)
