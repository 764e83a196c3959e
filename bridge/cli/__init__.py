"""The `bridge` command. Exit codes: 0 fine, 1 found something, 2 wrong use."""

import gettext
import inspect
import io
import logging
import os
import sys
from importlib import import_module
from typing import Any

import click
from dotenv import load_dotenv

from bridge import metrics, wording
from bridge.errors import SettingsError, StorageError
from bridge.wording import N_
from bridge.wording import gettext as _

_HELP: dict[click.Command | click.Option, str] = {}  # the English help of each
# Click's own texts come from the domain `messages`, whose catalogs these are from here on.
gettext.bindtextdomain("messages", wording.TRANSLATIONS)


class _Commands(click.Group):
    """Speaks the reader's language; says what stops a command in one message, not a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        os.environ["LANGUAGE"] = wording.current()  # where gettext looks first
        _translate(self)
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            click.echo(wording.refusal(error), err=True)
            ctx.exit(2)
        except StorageError as error:
            why = wording.said(error)
            click.echo(_("the database cannot be used: %(why)s", why=why), err=True)
            ctx.exit(1)


def _translate(command: click.Command) -> None:
    """Put the help of a command, of its options and of its own commands into the language."""
    for item in (command, *command.params):
        if isinstance(item, click.Command | click.Option) and item.help:
            item.help = _(_HELP.setdefault(item, inspect.cleandoc(item.help)))
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        _translate(each)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(metrics.build(), prog_name="bridge", message="%(prog)s %(version)s")
def commands() -> None:
    """Send what Pgyer reports to WeCom groups.

    Give it the same variables as the running bridge, or a file .env in the working folder.

    Exit codes: 0 fine, 1 found something, 2 wrong use.
    """


# The commands print what they find; log lines between would repeat it.
logging.getLogger("bridge").addHandler(logging.NullHandler())
for _name in (
    "check", "db", "demo", "events", "init", "pgyer", "preview", "retry", "routes", "sandbox",
    "send", "serve", "show", "templates", "url", "worker",
):  # fmt: skip
    commands.add_command(getattr(import_module(f"bridge.cli.{_name}"), _name))


def main() -> None:
    """Run the command, on whatever kind of terminal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal must not stop the command
    try:
        # A variable that is set already wins.
        load_dotenv(".env", interpolate=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or N_("not UTF-8 text")
        click.echo(_("cannot read %(file)s: %(why)s", file=".env", why=_(why)), err=True)
        sys.exit(2)
    commands()
