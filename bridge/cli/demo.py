"""`bridge demo`: sandbox, a real bridge under gunicorn and the samples, on free loopback ports."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event

import click
import requests

from bridge.cli.common import stop_signals, wait_for_stop
from bridge.samples import samples
from bridge.sandbox import PGYER_KEY, Sandbox, serve
from bridge.settings import PREFIXES, default_templates
from bridge.wording import N_
from bridge.wording import gettext as _

PATIENCE = 30.0  # seconds for the start, and again for the samples to arrive
PASSWORD = "demo-demo"  # of the console, which listens on loopback only
_ROUTES = """\
[[route]]
type = ["crashlog", "feedback"]
bots = ["dev"]
mention = ["wangqing"]
"""
_local = requests.Session()
_local.trust_env = False  # no proxy: the bridge is on this machine
_local.headers["Connection"] = "close"
_APP = "点餐"  # no sample is of it
_GRACE = 300.0  # seconds of Pgyer's clock, more than the bridge waits for a webhook
_CURL = """\
curl -d '{{"type": "updateVersion", "title": "商城", "os_version": "3.8.2", \
"build_version": "'$(date +%s)'", "device_type": "Android", "appsize": "26662364", \
"notes": "修复了若干问题", "link": "https://www.pgyer.com/shop_demo"}}' {url}"""


@click.command()
@click.option("--once", is_flag=True, help="End as soon as all samples have arrived; 1 if not.")
def demo(once: bool) -> None:
    """Run sandbox and bridge, and post the samples."""
    stopping, arrived = stop_signals(), False
    box = Sandbox({"demo-default": _("Product (default)"), "demo-dev": _("Developers (dev)")})
    box.upload_build(app=_APP, version="3.8.1", age=3600)
    with serve(box) as sandbox_url, tempfile.TemporaryDirectory() as folder:
        Path(folder, "routes.toml").write_text(_ROUTES, encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        token = secrets.token_hex(12)
        bridge_url = f"http://127.0.0.1:{port}"
        hook = box.hook = f"{bridge_url}/pgyer/{token}"
        bridge = _start(folder, port, token, sandbox_url)
        try:
            if _serves(bridge_url, bridge, stopping):
                click.echo("\n" + _("Open the groups: %(url)s", url=f"{sandbox_url}/"))
                text = N_("Open the console: %(url)s (password: %(password)s)")
                click.echo(_(text, url=f"{bridge_url}/console/", password=PASSWORD))
                click.echo(_("Post another event:") + f"\n  {_CURL.format(url=hook)}\n")
                arrived = _post_samples(hook, box, stopping)
                if not once:
                    click.echo(_("Ctrl-C ends it"))
                    _catch_up(box, stopping)
                    wait_for_stop(stopping)
            elif not stopping.is_set():
                click.echo(_("the bridge did not start, see above"), err=True)
        finally:
            bridge.terminate()
            bridge.wait()
    sys.exit(0 if arrived or (stopping.is_set() and not once) else 1)


def _start(folder: str, port: int, token: str, sandbox_url: str) -> subprocess.Popen[bytes]:
    ours = {
        "WECOM_API_URL": sandbox_url,
        "WECOM_BOT_KEY": "demo-default",
        "WECOM_BOT_KEY_DEV": "demo-dev",
        "BRIDGE_TOKEN": token,
        "BRIDGE_ADMIN_PASSWORD": PASSWORD,
        "BRIDGE_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "BRIDGE_TEMPLATES": str(default_templates().resolve()),
        "BRIDGE_ROUTES": f"{folder}/routes.toml",
        "DATABASE_URL": f"sqlite:///{folder}/bridge.db",
        "PGYER_API_URL": sandbox_url,
        "PGYER_API_KEY": PGYER_KEY,
        "PGYER_POLL_SECONDS": "10",
    }
    # Not the settings of a real bridge, which may be in .env here.
    mine = (*PREFIXES, "DATABASE_URL", "PORT", "WEB_", "LOG_", "GUNICORN_", "PROMETHEUS_")
    environ = {k: v for k, v in os.environ.items() if not k.startswith(mine)} | ours
    command = [sys.executable, "-m", "gunicorn", "--config", "python:bridge.gunicorn_conf"]
    command += ["--bind", f"127.0.0.1:{port}"]
    # A session of its own: Ctrl-C is for the demo, which then ends the bridge in order.
    return subprocess.Popen(command, env=environ, start_new_session=True)


def _catch_up(box: Sandbox, stopping: Event) -> None:
    """Upload a build without its webhook, and wait until the bridge has found and sent it."""
    for _moment in _moments(stopping):
        # The first look only notes what is there; a second one means that it is over.
        if sum(name == "listMy" for name, _form in box.asks) > 1:
            break
    before, text = _count(box), N_("✗ %(app)s %(version)s has not arrived")
    build = {"app": _APP, "version": "3.9.0"}
    box.upload_build(**build, notes=_("Its webhook never came"))
    box.ahead += _GRACE
    if any(_count(box) > before for _moment in _moments(stopping)):
        text = N_("✓ %(app)s %(version)s came without a webhook: Pgyer's API knew of it")
    if not stopping.is_set():
        click.echo(_(text, **build))


def _serves(url: str, bridge: subprocess.Popen[bytes], stopping: Event) -> bool:
    """Wait for the bridge; return whether it answers."""
    for _moment in _moments(stopping):
        if bridge.poll() is not None:
            return False
        with suppress(requests.RequestException):
            if _local.get(f"{url}/healthz", timeout=5).ok:
                return True
    return False


def _post_samples(url: str, box: Sandbox, stopping: Event) -> bool:
    """Post every sample and wait for it in the sandbox; return whether all arrived."""
    bodies = samples()
    for name, body in bodies.items():
        before = _count(box)
        answer = _local.post(url, data=body, timeout=10).json()
        arrived = any(_count(box) > before for _moment in _moments(stopping))
        text = N_("✗ %(name)s: event %(id)s → %(bots)s has not arrived")
        if arrived:
            text = N_("✓ %(name)s: event %(id)s → %(bots)s arrived")
        bots = ", ".join(answer.get("bots", ()))
        click.echo(_(text, name=name, id=answer.get("event"), bots=bots))
        if not arrived:
            return False
    click.echo(_("all %(count)s samples have arrived", count=len(bodies)))
    return True


def _count(box: Sandbox) -> int:
    """Return how many messages came, without the files that follow them."""
    return sum(call.msgtype != "file" for call in box.messages())


def _moments(stopping: Event) -> Iterator[None]:
    """Yield now and again until a signal comes or PATIENCE is over."""
    deadline = time.monotonic() + PATIENCE
    while not stopping.is_set() and time.monotonic() < deadline:
        yield
        time.sleep(0.02)
