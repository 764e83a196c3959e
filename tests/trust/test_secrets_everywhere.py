"""Every secret, in every spelling, is looked for in everything that the bridge puts out."""

import base64
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import psycopg
import pytest
import requests
from support import ROOT, Deployment
from trust.load import DEFAULT, Figure, new_version, settle
from trust.scale import scaled

from bridge.sandbox import Sandbox
from bridge.sandbox.faults import NAMES

ROUNDS = scaled(1, 30)
SEED = 43
SECRETS = {
    "WECOM_BOT_KEY": "key-of-default",
    "WECOM_BOT_KEY_DEV": "key-of-dev",
    "BRIDGE_ADMIN_PASSWORD": "an-admin-password/with+signs&<口>",
    "BRIDGE_TOKEN": "a-token_with~signs.of-ours",
    "PGYER_API_KEY": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",  # which the sandbox does not know
    "database password": "p@ss-of/the database",
}
COMMANDS = ("check", "events", "show 1", "routes", "retry --state parked", "x", "pgyer")
# Each in a process that has what all import, which takes most of a command's time.
RUN = """
import os, sys
from bridge.cli import main
for command in sys.argv[1:]:
    if not os.fork():
        sys.argv = ["bridge", *command.split()]
        main()
    os.wait()
"""
PAGES = ("", "events", "events/1", "templates", "templates/default.markdown.j2", "nowhere")


def spellings(secret: str) -> set[str]:
    """Return how a secret may be written."""
    forms = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}
    forms |= {json.dumps(secret)[1:-1], secret.replace("&", "&amp;").replace("<", "&lt;")}
    forms |= {base64.b64encode(text.encode()).decode() for text in (secret, f":{secret}")}
    return {form.replace("&amp;lt;", "&lt;") for form in forms}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_outlet_shows_a_secret(
    kind: str,
    sandbox: tuple[Sandbox, str],
    deploy: Callable[..., Deployment],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    figure: Figure,
) -> None:
    box, api = sandbox
    secrets = dict(SECRETS)
    environ = {name: value for name, value in secrets.items() if name.isupper()}
    environ |= {"LOG_LEVEL": "DEBUG", "BRIDGE_RATE": "1000000", "PGYER_API_URL": api}
    environ["GUNICORN_CMD_ARGS"] = "--access-logfile - --log-level debug"
    outlets: dict[str, str] = {}
    if kind == "postgresql":
        plain = request.getfixturevalue("postgres_url")
        password = quote(secrets["database password"], safe="")
        environ["DATABASE_URL"] = plain.replace("bridge@", f"bridge:{password}@")
        environ["LOG_FORMAT"] = "json"
    bridge = deploy(api, **environ).start()
    bridge.hook = f"{bridge.url}/pgyer/{secrets['BRIDGE_TOKEN']}"
    dice = random.Random(SEED)
    print(f"seed {SEED}")
    replies = [*exercise(bridge, box, secrets, dice)]
    # The bots rest long after many failures, or are stopped.
    outlets["the first commands"] = run(bridge, "retry --bot default", "retry --bot dev")
    settle(bridge)
    outlets["the commands"] = run(bridge, *COMMANDS)
    assert bridge.stop() == 0
    outlets |= {"a reply": "\n".join(replies), "the log": bridge.log.read_text()}
    if kind == "postgresql":
        with psycopg.connect(plain) as connection:
            for table in ("events", "deliveries", "attempts", "bots", "shared_values"):
                rows = connection.execute(f"SELECT * FROM {table}").fetchall()
                outlets[table] = repr(rows)
    outlets |= {f.name: f.read_bytes().decode("latin-1") for f in tmp_path.glob("*.db*")}
    outlets |= {"a message": repr([call.payload for call in box.calls])}
    for where, text in outlets.items():
        for name, secret in secrets.items():
            for form in spellings(secret):
                assert form not in text, f"{name} is in {where} as {form!r}"
    assert "DEBUG" in outlets["the log"] and "***" in outlets["the log"]
    figure(f"secrets ({kind}): none in {sum(map(len, outlets.values())):,} characters of output")


def exercise(
    bridge: Deployment, box: Sandbox, secrets: dict[str, str], dice: random.Random
) -> list[str]:
    """Do everything that may make the bridge speak; return its answers without our own cookies."""
    replies: list[str] = []

    def keep(answer: requests.Response) -> None:
        replies.append(f"{answer.status_code} {answer.headers} {answer.text}")

    quick = sorted(NAMES - {"hang", "continue", "drip_head", "drip_body"})
    password = secrets["BRIDGE_ADMIN_PASSWORD"]
    for number in range(ROUNDS):
        for fault in (*quick, "40058", "987654"):
            box.fault(DEFAULT, fault)
            keep(bridge.post(new_version(f"{fault} {number}"), dice.choice(("", "/dev", "/x"))))
            box.clear_faults()
        for body in ("garbage", "{}", "", b" " * ((1 << 20) + 1), b"\xff" * 50):
            keep(bridge.post(body))
        for path in ("", "/nobody", "/dev/", "/%00", "/dev?x=1", "-wrong"):
            keep(requests.request(dice.choice(("GET", "PUT")), bridge.hook + path, timeout=20))
        for path in ("readyz", "healthz", "metrics", "console/"):
            keep(requests.get(f"{bridge.url}/{path}", timeout=20))
            keep(requests.get(f"{bridge.url}/{path}", auth=(b"", password.encode()), timeout=20))
        keep(
            requests.get(f"{bridge.url}/metrics", auth=(b"", b"x" + password.encode()), timeout=20)
        )
        with requests.Session() as browser:
            page = browser.get(f"{bridge.url}/console/sign-in", timeout=20).text
            found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
            assert found, page
            form = {"csrf_token": found[1], "password": password}
            signed = browser.post(f"{bridge.url}/console/sign-in", data=form, timeout=20)
            assert signed.ok and "sign-in" not in signed.url, signed.url
            for path in PAGES:
                shown = browser.get(f"{bridge.url}/console/{path}", timeout=20)
                text = shown.text
                if path == "":  # the overview shows the address for Pgyer, to be pasted there
                    text = text.replace(bridge.hook, "")
                replies.append(f"{shown.status_code} {text}")
    return replies


def run(bridge: Deployment, *commands: str) -> str:
    """Return what commands print, with the bridge's environment."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **bridge.environ}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *commands],
        cwd=bridge.folder, env=environ, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.count("\n") >= len(commands) and "Traceback" not in done.stderr
    return done.stdout + done.stderr
