"""`bridge worker` and `bridge db upgrade`: what a platform runs beside the web processes."""

import logging.config
import os
import signal
import socket
import threading

import click
from werkzeug.serving import make_server

from bridge import configure, logs
from bridge.app import create_ops_app
from bridge.console.throttle import Brake
from bridge.errors import SchemaError, StorageError
from bridge.storage.schema import NEWEST
from bridge.wiring import Bridge, create_bridge

log = logging.getLogger(__name__)


@click.command()
def worker() -> None:
    """只发送，不接收 · Dispatch only: any number beside the web processes, until SIGTERM.

    设了 PORT 时，在上面提供 /healthz、/readyz 和 /metrics · With PORT set it serves these there.
    """
    settings, routes = configure(os.environ)
    logging.config.dictConfig(logs.config(settings))
    bridge = create_bridge(settings, routes)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        _open(bridge)
        if "PORT" in os.environ:
            _serve_ops(bridge)
        bridge.dispatcher.start()
        stopping.wait()
    finally:
        bridge.close()


def _open(bridge: Bridge) -> None:
    """Open the database, or leave that to the loop where it is away; a newer schema is an error."""
    try:
        bridge.outbox.open()
    except SchemaError:
        raise
    except StorageError as error:
        log.error("the database cannot be used yet: %s; the dispatcher goes on trying", error)


def _serve_ops(bridge: Bridge) -> None:
    """Let health checks and Prometheus ask this worker; telling matters more than that they can."""
    app = create_ops_app(bridge, Brake(), dispatches=True)
    try:
        listening = socket.create_server(("0.0.0.0", bridge.settings.port))
    except OSError as error:
        log.warning("no /metrics of this worker: PORT %s: %s", bridge.settings.port, error.strerror)
        return
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it would log every request
    with listening:
        server = make_server("0.0.0.0", 0, app, threaded=True, fd=listening.fileno())
    threading.Thread(target=server.serve_forever, name="ops", daemon=True).start()


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
    click.echo(f"表结构是最新的 · the schema is up to date: {NEWEST}")
