"""`bridge db upgrade`: the schema, as a platform's release phase."""

import click

from bridge.cli.common import open_bridge
from bridge.storage.database import UPGRADE
from bridge.storage.schema import NEWEST


@click.group()
def db() -> None:
    """数据库 · The database."""


@db.command()
def upgrade() -> None:
    """把表结构升级到当前版本 · Bring the schema up to date, as a platform's release phase."""
    with open_bridge() as (bridge, terminal):
        bridge.outbox.database.open(UPGRADE)
        terminal.say(f"表结构是最新的 · the schema is up to date: {NEWEST}")
