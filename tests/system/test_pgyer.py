"""The real program asks Pgyer: what was missed arrives, once, and the key stays unseen."""

import json
import subprocess
import sys
import time
from pathlib import Path

import requests
from pgyer_api import KEY, FakePgyer, serve, webhook
from support import ROOT, environment, until
from system_helpers import Deploy, Served, contents, rows

from bridge import configure
from bridge.wiring import Bridge

PASSWORD = "a-password-of-ours"


def test_a_build_that_was_missed_arrives_once_after_a_restart_with_two_processes(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, wecom = sandbox
    fake = FakePgyer(time.time)
    first = fake.upload(age=500.0)
    with serve(fake) as url:
        bridge = deploy(
            wecom, PGYER_API_KEY=KEY, PGYER_API_URL=url, PGYER_POLL_SECONDS="10",
            WEB_CONCURRENCY="2", BRIDGE_ADMIN_PASSWORD=PASSWORD,
        )  # fmt: skip
        before = Bridge(*configure(bridge.environ))
        assert before.pgyer
        before.pgyer._clock = lambda: time.time() + 86_400.0  # it is set back later: look at once
        assert before.pgyer.poll()
        before.close()
        fake.clock = lambda: time.time() + 3600.0
        missed = fake.upload(age=200.0)
        bridge.start()
        until(lambda: len(contents(box)) == 1)
        assert "App demo" in contents(box)[0] and "1.2" in contents(box)[0]
        late = bridge.post(json.dumps(webhook(missed)))
        assert late.json()["status"] == "duplicate"
        assert bridge.post(json.dumps(webhook(first))).json()["status"] == "accepted"
        metrics = requests.get(f"{bridge.url}/metrics", auth=("", PASSWORD), timeout=5).text
        assert "bridge_pgyer_builds_missing_total 1.0" in metrics
        assert bridge.stop() == 0
    assert [name for name, _ in fake.asked].count("listMy") <= 4  # of 10 s, and two processes
    log = bridge.log.read_text()
    assert "no webhook came for build App demo 1.2 (2)" in log
    assert KEY not in log
    assert rows(tmp_path, "SELECT count(*) FROM events WHERE source = 'api'") == [(1,)]
    files = (tmp_path / name for name in ("bridge.db", "bridge.db-wal"))
    assert not any(KEY.encode() in file.read_bytes() for file in files if file.exists())


def test_without_a_key_nothing_of_it_is_loaded_or_runs(tmp_path: Path) -> None:
    code = (
        "import sys, threading; from bridge import create_app; app = create_app();"
        "app.extensions['bridge'].start();"
        "names = [name for name in sys.modules if name.startswith('bridge.pgyer')];"
        "names += [t.name for t in threading.enumerate() if 'pgyer' in t.name];"
        "app.extensions['bridge'].close(); print(names)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path), cwd=ROOT,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"
