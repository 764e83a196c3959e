"""How gunicorn serves the bridge: `bridge serve`, or `--config python:bridge.gunicorn_conf`."""

import logging
import os
import shutil
import signal
import sys
import tempfile
from types import FrameType
from typing import Any

from gunicorn.glogging import Logger

from bridge import configure, logs
from bridge.addresses import any_host
from bridge.errors import SettingsError
from bridge.wording import refusal

try:
    # Here rather than in a worker, whose exit gunicorn would answer with a traceback and status 3.
    _settings, _ = configure(os.environ)
except SettingsError as error:
    print(refusal(error), file=sys.stderr)
    sys.exit(2)


class _Logger(Logger):  # type: ignore[misc]  # gunicorn has no annotations
    """Does not put together the access line that nobody is to see: a tenth of a request's time."""

    def __init__(self, cfg: Any) -> None:
        # The first that gunicorn does by its settings, also before --preload loads the app.
        _make_metrics_folder(cfg.workers)
        super().__init__(cfg)

    def access(self, *args: Any) -> None:
        if self.access_log.isEnabledFor(logging.INFO):
            super().access(*args)


wsgi_app = "bridge:create_app()"
logger_class = _Logger
bind = f"{any_host()}:{_settings.port}"
workers = _settings.workers
worker_class = "bridge.receiving.gunicorn_worker.BufferingWorker"
threads = 8
timeout = 30
graceful_timeout = 9  # platforms kill after 10 s
keepalive = 75  # longer than the idle time of a platform's router, which reuses connections
control_socket_disable = True  # nothing here uses it, and a home may be read-only
logconfig_dict = logs.config(_settings)
access_log_format = (
    '%(h)s "%(m)s" %(s)s %(b)s %(M)sms "%(a)s"'  # without the path: it has the token
)


# Where several workers put their metrics together; one alone keeps its own in memory.
_METRICS = "PROMETHEUS_MULTIPROC_DIR"


def _make_metrics_folder(workers: int) -> None:
    os.environ.pop(_METRICS, None)
    if workers > 1:
        os.environ[_METRICS] = tempfile.mkdtemp(prefix="bridge-metrics-")


def post_worker_init(worker: Any) -> None:
    """Start dispatching in the worker, and stop it as soon as the worker is asked to end."""
    if not _settings.dispatch:
        return
    bridge = worker.wsgi.extensions["bridge"]
    bridge.start()

    def before(theirs: Any) -> Any:
        def handle(number: int, frame: FrameType | None) -> None:
            bridge.dispatcher.stop_soon()
            theirs(number, frame)

        return handle

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, before(signal.getsignal(number)))


def worker_exit(server: Any, worker: Any) -> None:
    """Settle what is under way before the worker goes."""
    app = getattr(worker, "wsgi", None)  # None where it could not be loaded
    if app:
        app.extensions["bridge"].close()


def child_exit(server: Any, worker: Any) -> None:
    """Let a worker's metrics outlive it."""
    if _METRICS in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    """Leave nothing behind."""
    if _METRICS in os.environ:
        shutil.rmtree(os.environ[_METRICS], ignore_errors=True)
