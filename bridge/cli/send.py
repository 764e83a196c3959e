"""`bridge send`: handle a payload as if Pgyer had posted it."""

import click

from bridge.cli.common import bot_names, bots_option, json_option, open_bridge, read_body
from bridge.cli.terminal import one_line
from bridge.errors import TooLargeError
from bridge.receiving.intake import read
from bridge.wording import N_, said
from bridge.wording import gettext as _


@click.command()
@click.argument("file")
@bots_option
@json_option
def send(file: str, bots: tuple[str, ...], as_json: bool) -> None:
    """Handle a payload as if Pgyer had posted it.

    FILE is a file, - or a sample's name, e.g. crashlog.
    """
    body = read_body(file)
    with open_bridge() as (bridge, terminal):
        names = bot_names(bots, bridge.settings.bots)
        try:
            receipt = bridge.intake.store(read(body, bridge.clock()), names)
        except TooLargeError as error:
            raise click.ClickException(_("too large: %(why)s", why=said(error))) from None
        if as_json:
            terminal.json(receipt.answer())
        elif not receipt.stored:
            terminal.say(_("empty: there is no event in it"))
        for event, targets, accepted in () if as_json else receipt.stored:
            kind = one_line(event.type) or _("no type")
            goes_to = ", ".join(target.bot for target in targets) or _("nobody")
            if accepted.duplicate:
                goes_to = _("a duplicate: it is not sent again")
            text = N_("event %(id)s (%(kind)s) → %(goes_to)s")
            terminal.say(_(text, id=accepted.event, kind=kind, goes_to=goes_to))
        if receipt.error:
            text = N_("cannot be decoded, and is kept: %(why)s")
            terminal.say(_(text, why=_(receipt.error)), err=True)
    if receipt.error or not receipt.stored:
        raise click.exceptions.Exit(1)
