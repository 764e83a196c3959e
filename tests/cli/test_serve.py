"""`bridge serve`, as it is started in a folder and behind a proxy."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from support import PATIENCE, ROOT, TOKEN, Deployment, environment, until

from bridge import create_app
from bridge.addresses import any_host
from bridge.sandbox import Sandbox

BRIDGE = str(Path(sys.executable).parent / "bridge")


@pytest.mark.parametrize("language", ["zh_CN.UTF-8", "en_US.UTF-8"])
def test_without_settings_it_says_what_to_set_and_how_to_look_first(
    language: str, tmp_path: Path
) -> None:
    environ = {"PATH": os.environ["PATH"], "LANG": language, "PORT": "0", "DATABASE_URL": "x"}
    done = subprocess.run(
        [BRIDGE, "serve"], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) <= 6 and max(map(len, lines)) <= 100
    for part in ("WECOM_BOT_KEY", "群机器人", "BRIDGE_TOKEN", "bridge init", ".env", "bridge demo"):
        assert part in done.stderr
    assert ("Two settings" in done.stderr) == language.startswith("en")
    # With a setting, it is the refusal that lists all problems.
    done = subprocess.run(
        [BRIDGE, "serve"], cwd=tmp_path, env=environ | {"BRIDGE_RATE": "x"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 5)


def test_it_serves_by_env_under_a_path_and_ends_in_order(
    sandbox: tuple[Sandbox, str], deploy: Callable[..., Deployment], tmp_path: Path
) -> None:
    box, api = sandbox
    bridge = deploy(api, LOG_LEVEL="DEBUG")
    secret = {k: bridge.environ.pop(k) for k in ("WECOM_BOT_KEY", "BRIDGE_TOKEN")}
    lines = [f"{name}={value}" for name, value in secret.items()]
    public = f"http://127.0.0.1:{bridge.port}/hooks/bridge"
    (tmp_path / ".env").write_text("\n".join([*lines, f"BRIDGE_PUBLIC_URL={public}"]))
    environ = {"PATH": os.environ["PATH"], **bridge.environ, "GUNICORN_CMD_ARGS": "--threads 3"}
    with bridge.log.open("ab") as log:
        bridge.process = subprocess.Popen(
            [BRIDGE, "serve", "--pid", "pid", "-t", "31"],
            cwd=tmp_path, env=environ, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    until(bridge.serves, f"the bridge serves, see {bridge.log}")
    assert (tmp_path / "pid").read_text().strip() == str(bridge.process.pid)  # it is gunicorn's
    assert bridge.post('{"type": "feedback"}').status_code == 200
    answer = requests.post(f"{public}/pgyer/{TOKEN}", data='{"type": "crashlog"}', timeout=20)
    assert answer.json()["status"] == "accepted"
    until(lambda: len(box.messages("key-of-default")) >= 2, "both events arrive")
    if any_host() == "[::]":
        requests.get(f"http://[::1]:{bridge.port}/pgyer/wrong", timeout=20)
        with socket.create_connection(("127.0.0.1", bridge.port), 20) as client:
            address = client.getsockname()[0]
            assert address == "127.0.0.1"
    bridge.process.send_signal(signal.SIGTERM)
    assert bridge.process.wait(PATIENCE) == 0
    text = bridge.log.read_text()
    assert "::ffff:" not in text and '127.0.0.1 "POST"' in text
    assert TOKEN not in text and " ERROR " not in text


def test_a_server_that_does_not_dispatch_says_so_in_one_line(tmp_path: Path) -> None:
    bridge = Deployment(tmp_path, environment(tmp_path))
    with bridge.log.open("ab") as log:
        bridge.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "bridge:create_app()", "--no-control-socket",
             "--bind", f"127.0.0.1:{bridge.port}"],
            cwd=tmp_path, env={"PATH": os.environ["PATH"], **bridge.environ},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        until(bridge.serves, f"it serves, see {bridge.log}")
        assert bridge.post("{}").status_code == 200
        assert bridge.post("{}").status_code == 200
        assert bridge.stop() == 0
    finally:
        if bridge.process.poll() is None:
            bridge.kill()
    errors = [line for line in bridge.log.read_text().splitlines() if "ERROR" in line]
    assert len(errors) == 1 and "none is sent" in errors[0] and "bridge serve" in errors[0]


@pytest.mark.parametrize("starts", [True, False])
def test_a_process_that_dispatches_or_only_receives_does_not_complain(
    starts: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(environment(tmp_path, BRIDGE_DISPATCH="on" if starts else "off"))
    if starts:
        app.extensions["bridge"].start()
    assert app.test_client().get("/").status_code == 200
    app.extensions["bridge"].close()
    assert "none is sent" not in caplog.text


def test_the_configuration_of_the_checkout_is_that_of_the_package() -> None:
    text = (ROOT / "gunicorn.conf.py").read_text()
    assert re.match(r"from bridge.gunicorn_conf import \*", text) and text.count("\n") == 1
