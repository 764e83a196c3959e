"""`bridge db upgrade`: the schema, as a platform's release phase."""

import click

from bridge.cli.common import open_bridge
from bridge.storage.database import UPGRADE
from bridge.storage.schema import NEWEST
from bridge.wording import gettext as _


@click.group()
def db() -> None:
    """The database."""


@db.command()
def upgrade() -> None:
    """Bring the schema up to date, as a platform's release phase."""
    with open_bridge() as (bridge, terminal):
        bridge.outbox.database.open(UPGRADE)
        terminal.say(_("the schema is up to date: %(version)s", version=NEWEST))
