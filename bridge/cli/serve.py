"""`bridge serve`: receive and send, under gunicorn with the configuration that comes with it."""

import os
import sys

import click

from bridge.settings import PREFIXES
from bridge.wording import N_
from bridge.wording import gettext as _

_FIRST = N_("""\
Two settings are needed, and there are none yet:
  WECOM_BOT_KEY: the webhook address of the group's robot, in WeCom: 群设置 → 群机器人 → 添加
  BRIDGE_TOKEN: a long random word, the secret part of the address for Pgyer
`bridge init` writes them to the file .env here: paste the address there, and start again.
To look first, without an account: `bridge demo`""")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[GUNICORN_OPTION]...")
def serve(options: tuple[str, ...]) -> None:
    """Run the bridge; what follows are options of gunicorn."""
    if not any(name.startswith(PREFIXES) for name in os.environ):
        click.echo(_(_FIRST), err=True)
        sys.exit(2)
    command = [sys.executable, "-m", "gunicorn", "--config", "python:bridge.gunicorn_conf"]
    # In place of this process, so that a signal reaches gunicorn.
    os.execv(sys.executable, [*command, *options])
