"""`bridge worker` and `bridge db upgrade`: what a platform runs beside the web processes."""

import logging.config
import os
import signal
import threading

import click

from bridge import configure, logs
from bridge.parts import create_bridge
from bridge.schema import VERSION


@click.command()
def worker() -> None:
    """只发送，不接收 · Dispatch only: any number beside the web processes, until SIGTERM."""
    settings, routes = configure(os.environ)
    logging.config.dictConfig(logs.config(settings))
    bridge = create_bridge(settings, routes)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        bridge.dispatcher.start()
        stopping.wait()
    finally:
        bridge.close()


@click.group()
def db() -> None:
    """数据库 · The database."""


@db.command()
def upgrade() -> None:
    """把表结构升级到当前版本 · Bring the schema up to date, as a platform's release phase."""
    bridge = create_bridge(*configure(os.environ))
    try:
        bridge.outbox.open()
    finally:
        bridge.close()
    click.echo(f"表结构是最新的 · the schema is up to date: {VERSION}")
