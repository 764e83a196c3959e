"""The `bridge` command. Exit codes: 0 fine, 1 found something, 2 wrong use."""

import io
import logging
import sys
from importlib import import_module
from typing import Any

import click

from bridge.errors import SettingsError, StorageError


class _Commands(click.Group):
    """Says what stops a command in one message, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            click.echo(error.report(), err=True)
            ctx.exit(2)
        except StorageError as error:
            click.echo(f"数据库不可用 · the database cannot be used: {error}", err=True)
            ctx.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """蒲公英 → 企业微信 · Send what Pgyer reports to WeCom groups.

    和正在运行的服务用同样的环境变量 · Give it the same variables as the running bridge.

    退出码 Exit codes: 0 正常 fine, 1 有发现 found something, 2 用法不对 wrong use.
    """


# The commands print what they find; log lines between would repeat it.
logging.getLogger("bridge").addHandler(logging.NullHandler())
for _name in (
    "check", "db", "demo", "events", "preview", "retry", "routes", "sandbox", "send", "show",
    "templates", "url", "worker",
):  # fmt: skip
    commands.add_command(getattr(import_module(f"bridge.cli.{_name}"), _name))


def main() -> None:
    """Run the command, on whatever kind of terminal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal must not stop the command
    commands()
