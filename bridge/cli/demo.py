"""`bridge demo`: sandbox, a real bridge under gunicorn and the samples, on free loopback ports."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import requests

from bridge.samples import samples
from bridge.sandbox import Sandbox, serve
from bridge.settings import default_templates

PATIENCE = 30.0  # seconds for the start, and again for the samples to arrive
PASSWORD = "demo-demo"  # of the console, which listens on loopback only
_ROOT = Path(__file__).parent.parent.parent
_ROUTES = """\
[[route]]
type = ["crashlog", "feedback"]
bots = ["dev"]
mention = ["wangqing"]
"""
_CURL = """\
curl -d '{{"type": "updateVersion", "title": "OooPlay", "os_version": "2.5", \
"build_version": "'$(date +%s)'", "device_type": "Android", "appsize": "26662364", \
"notes": "修复了若干问题", "link": "https://www.pgyer.com/oooplay"}}' {url}"""


def run_demo(once: bool, wait: Callable[[], None]) -> int:
    """Run the demo until `wait` returns, or with `once` until the samples have arrived.

    Returns the exit code: 0, or 1 where the bridge did not start or a sample did not arrive.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the bridge is ended as well
    keys = {"demo-default": "产品群 · default", "demo-dev": "开发群 · dev"}
    box = Sandbox(keys)
    with serve(box) as sandbox_url, tempfile.TemporaryDirectory() as folder:
        Path(folder, "routes.toml").write_text(_ROUTES, encoding="utf-8")
        port, token = _free_port(), secrets.token_hex(12)
        bridge_url = f"http://127.0.0.1:{port}"
        bridge = _start(folder, port, token, sandbox_url)
        try:
            if not _serves(bridge_url, bridge):
                click.echo("桥没有启动，原因见上 · the bridge did not start, see above", err=True)
                return 1
            click.echo(f"\n群消息 Open the groups:  {sandbox_url}/")
            click.echo(f"控制台 Open the console: {bridge_url}/console/  密码 password: {PASSWORD}")
            click.echo("再发一条 Post another event:")
            click.echo(f"  {_CURL.format(url=f'{bridge_url}/pgyer/{token}')}\n")
            arrived = _post_samples(f"{bridge_url}/pgyer/{token}", box)
            if not once:
                wait()
            return 0 if arrived else 1
        finally:
            bridge.terminate()
            bridge.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _start(folder: str, port: int, token: str, sandbox_url: str) -> subprocess.Popen[bytes]:
    ours = {
        "WECOM_API_URL": sandbox_url,
        "WECOM_BOT_KEY": "demo-default",
        "WECOM_BOT_KEY_DEV": "demo-dev",
        "BRIDGE_TOKEN": token,
        "BRIDGE_ADMIN_PASSWORD": PASSWORD,
        "BRIDGE_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "BRIDGE_TEMPLATES": str(default_templates().resolve()),
        "DATABASE_URL": f"sqlite:///{folder}/bridge.db",
        "PORT": str(port),
    }
    mine = ("BRIDGE_", "WECOM_", "DATABASE_URL", "WEB_CONCURRENCY", "GUNICORN_CMD_ARGS")
    environ = {k: v for k, v in os.environ.items() if not k.startswith(mine)} | ours
    config = str(_ROOT / "gunicorn.conf.py")
    command = [sys.executable, "-m", "gunicorn", "--config", config, "--bind", f"127.0.0.1:{port}"]
    # A session of its own: Ctrl-C is for the demo, which then ends the bridge in order.
    return subprocess.Popen(command, cwd=folder, env=environ, start_new_session=True)


def _serves(url: str, bridge: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while bridge.poll() is None and time.monotonic() < deadline:
        try:
            return requests.get(f"{url}/healthz", timeout=5).ok
        except requests.ConnectionError:
            time.sleep(0.1)
    return False


def _post_samples(url: str, box: Sandbox) -> bool:
    """Post every sample and wait for it in the sandbox; tell whether all arrived."""
    bodies = samples()
    for name, body in bodies.items():
        before = len(box.messages())
        answer = requests.post(url, data=body, timeout=10).json()
        arrived = _grows(box, before)
        mark, state = ("✓", "arrived") if arrived else ("✗", "has not arrived")
        click.echo(f"{mark} {name}: event {answer.get('event')} → {answer.get('bots')} {state}")
        if not arrived:
            return False
    click.echo(f"全部 {len(bodies)} 条示例已到达 · all {len(bodies)} samples have arrived")
    return True


def _grows(box: Sandbox, before: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while len(box.messages()) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    return len(box.messages()) > before
