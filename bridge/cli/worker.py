"""`bridge worker`: a process that only sends, beside the web processes."""

import logging.config
import os
import threading
from dataclasses import replace

import click
from werkzeug.serving import WSGIRequestHandler, make_server

from bridge import configure, logs
from bridge.addresses import listen_anywhere
from bridge.app import create_ops_app
from bridge.cli.common import stop_signals, wait_for_stop
from bridge.errors import SchemaError, StorageError
from bridge.wiring import Bridge

log = logging.getLogger(__name__)


class _Handler(WSGIRequestHandler):
    timeout = 15  # seconds; else each silent connection would keep a thread


@click.command()
def worker() -> None:
    """Dispatch only: any number beside the web processes, until SIGTERM.

    With PORT set it serves /healthz, /readyz and /metrics there.
    """
    settings, routes = configure(os.environ)
    logging.config.dictConfig(logs.config(settings))
    bridge = Bridge(replace(settings, dispatch=True), routes)
    stopping = stop_signals()
    try:
        try:
            bridge.open_database()
        except SchemaError:
            raise
        except StorageError as error:
            log.error("the database cannot be used yet: %s; the dispatcher keeps trying", error)
        if "PORT" in os.environ:
            _serve_ops(bridge)
        bridge.start()
        wait_for_stop(stopping)
    finally:
        bridge.close()


def _serve_ops(bridge: Bridge) -> None:
    """Answer health checks and Prometheus; a port that is taken must not keep it from sending."""
    app = create_ops_app(bridge)
    try:
        listening = listen_anywhere(bridge.settings.port)
    except OSError as error:
        log.warning("no /metrics of this worker: PORT %s: %s", bridge.settings.port, error.strerror)
        return
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it would log every request
    with listening:
        host, fd = listening.getsockname()[0], listening.fileno()
        server = make_server(host, 0, app, threaded=True, request_handler=_Handler, fd=fd)
    threading.Thread(target=server.serve_forever, name="ops", daemon=True).start()
