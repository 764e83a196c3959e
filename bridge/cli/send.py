"""`bridge send`: a payload goes through as if Pgyer had posted it."""

import click

from bridge.cli.common import body_of, bot_names, bots_option, json_option, opened
from bridge.cli.terminal import one_line
from bridge.errors import TooLargeError


@click.command()
@click.argument("file")
@bots_option
@json_option
def send(file: str, bots: tuple[str, ...], as_json: bool) -> None:
    """当作蒲公英发来的一条 · Put a payload through as if Pgyer had posted it.

    FILE: 文件、- 或示例名 · a file, - or a sample's name, e.g. crashlog.
    """
    body = body_of(file)
    with opened() as (bridge, terminal):
        names = bot_names(bots, bridge.settings.bots)
        try:
            receipt = bridge.intake.take(body, bridge.clock(), names)
        except TooLargeError as error:
            raise click.ClickException(f"太大 too large: {error}") from None
        if as_json:
            terminal.json(receipt.answer())
        elif not receipt.stored:
            terminal.say("空的，没有要通知的 · empty: there is nothing to tell")
        for event, told, accepted in () if as_json else receipt.stored:
            kind = one_line(event.type) or "无类型 no type"
            said = ", ".join(target.bot for target in told) or "谁也不通知 nobody"
            if accepted.duplicate:
                said = "重复，不再通知 · a duplicate: it is not told again"
            terminal.say(f"事件 event {accepted.event} ({kind}) → {said}")
        if receipt.error:
            terminal.say(
                f"无法解析，原文已保留 · cannot be decoded, and is kept: {receipt.error}", err=True
            )
    if receipt.error or not receipt.stored:
        raise click.exceptions.Exit(1)
