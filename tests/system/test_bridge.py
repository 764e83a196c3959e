"""The whole bridge as a user runs it: real gunicorn, real HTTP, the sandbox for WeCom."""

import json
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from support import ROOT, TOKEN, Deployment, until

from bridge.messages.markdown import size
from bridge.samples import samples
from bridge.sandbox import Sandbox, serve

Deploy = Callable[..., Deployment]
Served = tuple[Sandbox, str]

DEFAULT, DEV = "key-of-default", "key-of-dev"


def contents(box: Sandbox, key: str | None = None) -> list[str]:
    """What the groups have got, as the text of each message."""
    return [call.payload[call.msgtype].get("content", "") for call in box.messages(key)]


def new_version(n: int = 0) -> str:
    return json.dumps({"type": "updateVersion", "title": f"App {n}", "os_version": f"1.{n}"})


def rows(tmp_path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(f"file:{tmp_path}/bridge.db?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_every_sample_ends_as_a_markdown_message_of_its_own_template(
    sandbox: Served, deploy: Deploy
) -> None:
    box, api = sandbox
    bridge = deploy(api).start()
    heads = {
        "updateVersion": "新版本",
        "feedback": "用户反馈",
        "crashlog": "崩溃日志",
        "versionChange": "版本变动",
        "appSettings": "应用设置变动",
        "transferApp": "应用已迁移",
        "deleteApp": "应用已删除",
    }
    assert samples().keys() == heads.keys()
    for n, (name, body) in enumerate(samples().items(), 1):
        answer = bridge.post(body)
        assert answer.status_code == 200
        assert answer.json() == {"status": "accepted", "event": n, "bots": ["default"]}
        until(lambda n=n: len(box.messages(DEFAULT)) == n, f"{name} arrives")
        last = box.messages(DEFAULT)[-1]
        content = contents(box, DEFAULT)[-1]
        assert last.msgtype == "markdown"
        assert heads[name] in content.split("\n")[0]
        for shown in ("OooPlay", "2.4 (139)", "2.1 MB", "pgyer.com/oooplay_test"):
            assert shown in content
        for nonsense in ("None", "null", "undefined", "{{"):
            assert nonsense not in content


def test_a_post_without_known_fields_shows_all_that_came(sandbox: Served, deploy: Deploy) -> None:
    box, api = sandbox
    bridge = deploy(api).start()
    bridge.post('{"type": "somethingNew", "title": null, "who": "me", "n": 3, "x": {"y": [1]}}')
    until(lambda: len(box.messages()) == 1)
    [content] = contents(box)
    for shown in ("somethingNew", "who", "me", "：3", "y: (1)"):
        assert shown in content
    assert "null" not in content and "None" not in content


def test_the_contract_of_answers(sandbox: Served, deploy: Deploy) -> None:
    box, api = sandbox
    bridge = deploy(api).start()
    get, url = requests.get, bridge.url

    first = bridge.post('{"type": "feedback", "timestamp": 1}')
    again = bridge.post('{"type": "feedback", "timestamp": 2}')
    assert first.json() == {"status": "accepted", "event": 1, "bots": ["default"]}
    assert (again.status_code, again.json()) == (200, {"status": "duplicate", "event": 1})
    named = bridge.post('{"type": "feedback"}', "/dev,default")
    assert named.json() == {"status": "accepted", "event": 2, "bots": ["dev", "default"]}
    assert bridge.post("").json() == {"status": "ping"}
    assert bridge.post(" \n ").json() == {"status": "ping"}

    refused = bridge.post("\x00 no event <@all>")
    assert refused.status_code == 400
    assert refused.json()["event"] == 3 and "decoded" in refused.json()["error"]
    again = bridge.post("\x00 no event <@all>")
    assert (again.status_code, again.json()["event"]) == (400, 3)
    until(lambda: len(box.messages(DEFAULT)) == 3)
    assert "no event <\u200b@all>" in contents(box, DEFAULT)[-1]
    assert "\n" not in contents(box, DEFAULT)[-1]

    unknown = bridge.post("{}", "/dev,nobody")
    assert unknown.status_code == 404 and "nobody" in unknown.json()["error"]
    array = bridge.post('[{"type": "a"}, {"type": "b"}]')
    assert array.json() == {
        "status": "accepted", "event": 4, "bots": ["default"], "events": [4, 5],
    }  # fmt: skip
    large = bridge.post(b" " * ((1 << 20) + 1))
    assert large.status_code == 413
    assert bridge.post(b'{"a": 1}' + b" " * ((1 << 20) - 8)).status_code == 200

    wrong = requests.post(f"{url}/pgyer/wrong", data="{}", timeout=20)
    nowhere = get(f"{url}/nowhere", timeout=20)
    assert wrong.status_code == nowhere.status_code == 404
    assert wrong.content == nowhere.content
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert requests.request(method, bridge.hook, timeout=20).status_code == 405
    for path in ("", "/", "/dev", "/dev/"):
        greeting = get(bridge.hook + path, timeout=20)
        assert greeting.status_code == 200 and greeting.text.count("\n") == 1
    assert get(f"{bridge.hook}/nobody", timeout=20).status_code == 404
    assert get(f"{url}/healthz", timeout=20).status_code == 200
    until(lambda: get(f"{url}/readyz", timeout=20).json()["pending"] == 0)
    assert get(f"{url}/readyz", timeout=20).json()["status"] == "ready"


def test_both_tokens_of_a_rotation_open_and_no_other(sandbox: Served, deploy: Deploy) -> None:
    bridge = deploy(sandbox[1], BRIDGE_TOKEN=f"new-token-of-ours,{TOKEN}").start()
    assert bridge.post("").status_code == 200
    assert requests.post(f"{bridge.url}/pgyer/new-token-of-ours", timeout=20).status_code == 200
    assert requests.post(f"{bridge.url}/pgyer/new-token-of", timeout=20).status_code == 404
    both = f"{bridge.url}/pgyer/new-token-of-ours,{TOKEN}"
    assert requests.post(both, timeout=20).status_code == 404


def test_routes_choose_bots_template_and_mentions(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    (tmp_path / "routes.toml").write_text(
        """
        [[route]]
        type = "crash*"
        bots = ["dev"]
        mention = ["wangqing", "@all", "13800138000"]
        template = "feedback"
        continue = true

        [[route]]
        app = ["Secret*"]
        bots = []

        [[route]]
        device = "ios"
        bots = ["default", "dev"]
        """
    )
    bridge = deploy(api).start()
    assert bridge.post('{"type": "crashlog", "device_type": "iOS", "title": "A"}').json()[
        "bots"
    ] == ["dev", "default"]
    assert bridge.post('{"type": "feedback", "title": "Secret app"}').json()["bots"] == []
    assert bridge.post('{"type": "feedback", "title": "Open"}').json()["bots"] == ["default"]
    until(lambda: len(box.messages()) == 4)
    first, call = box.messages(DEV)
    assert "用户反馈" in first.payload["markdown"]["content"]
    assert "<@wangqing>" in first.payload["markdown"]["content"]
    assert "@all" not in first.payload["markdown"]["content"]
    assert call.payload["text"] == {
        "content": "A",
        "mentioned_list": ["@all"],
        "mentioned_mobile_list": ["13800138000"],
    }
    assert "崩溃日志" in contents(box, DEFAULT)[0]
    assert "<@" not in contents(box, DEFAULT)[0]


FAULTS = ["busy", "502", "429", "reset", "lost", "html", "45033"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_ends_in_delivery(
    fault: str, sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEFAULT, fault)
    bridge = deploy(api).start()
    bridge.post(new_version())
    until(lambda: rows(tmp_path, "select state from deliveries") == [("sent",)])
    verdicts = rows(tmp_path, "select verdict from attempts order by id")
    assert verdicts == [("retry",), ("sent",)]
    assert len(box.messages()) == (2 if fault == "lost" else 1)  # WeCom knows no idempotency key


def test_a_hanging_wecom_is_given_up_and_tried_again(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEFAULT, "hang")
    bridge = deploy(api).start()
    bridge.post(new_version())
    until(lambda: rows(tmp_path, "select state from deliveries") == [("sent",)])
    assert rows(tmp_path, "select reason from attempts order by id") == [("read_timeout",), ("ok",)]


def test_a_warning_of_wecom_is_success_and_loud(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEFAULT, "warning")
    bridge = deploy(api).start()
    bridge.post(new_version())
    until(lambda: rows(tmp_path, "select state from deliveries") == [("sent",)])
    until(lambda: "WARNING bridge.delivery.sender: event 1" in bridge.log.read_text())


@pytest.mark.parametrize("errcode", [40008, 40058, 44004, 301019, 987654])
def test_a_permanent_refusal_is_parked_and_does_not_block_the_next(
    errcode: int, sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEFAULT, errcode)
    bridge = deploy(api).start()
    bridge.post(new_version(1))
    bridge.post(new_version(2))
    until(lambda: len(box.messages()) == 1)
    assert "App 2" in contents(box)[0]
    query = "select state, tries from deliveries order by id limit 1"
    assert rows(tmp_path, query) == [("parked", 1)]
    assert rows(tmp_path, "select errcode from attempts order by id limit 1") == [(errcode,)]


@pytest.mark.parametrize("errcode", [93000, 93004, 93008])
def test_a_dead_bot_is_stopped_and_default_is_told_while_others_go_on(
    errcode: int, sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEV, errcode, always=True)
    bridge = deploy(api).start()
    bridge.post(new_version(1), "/dev")
    until(lambda: len(box.messages(DEFAULT)) == 1)
    assert "**dev**" in contents(box, DEFAULT)[0]
    bridge.post(new_version(2), "/dev,default")
    until(lambda: len(box.messages(DEFAULT)) == 2)
    ready = requests.get(f"{bridge.url}/readyz", timeout=20)
    assert ready.status_code == 503
    assert "bot dev is stopped" in ready.text
    assert requests.get(f"{bridge.url}/healthz", timeout=20).status_code == 200
    assert box.messages(DEV) == []
    assert bridge.stop() == 0

    # A new key brings it back, and what waited is told.
    box.clear_faults()
    box.fault(DEV, 93000, always=True)
    box.robots["a-new-key"] = type(box.robots[DEV])(key="a-new-key", name="dev")
    bridge.environ["WECOM_BOT_KEY_DEV"] = "a-new-key"
    bridge.start()
    until(lambda: len(box.messages("a-new-key")) == 2)
    assert [c.split("\n")[0][-5:] for c in contents(box, "a-new-key")] == ["App 1", "App 2"]


def test_45009_lets_the_bot_rest_and_loses_nothing(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEFAULT, 45009)
    bridge = deploy(api).start()
    bridge.post(new_version())
    until(lambda: rows(tmp_path, "select verdict from attempts") == [("rest",)])
    [(ended, rest_until)] = rows(
        tmp_path,
        "select ended_at, rest_until from attempts, bots where name = 'default'",
    )
    assert rest_until == pytest.approx(ended + 65)
    assert rows(tmp_path, "select state from deliveries") == [("pending",)]


def test_a_bot_that_hangs_holds_up_nobody_else(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEV, "hang", always=True)
    bridge = deploy(api).start()
    bridge.post(new_version(), "/dev")
    until(lambda: rows(tmp_path, "select name from bots where lease != ''") == [("dev",)])
    for n in range(5):
        bridge.post(new_version(n), "/default")
    until(lambda: len(box.messages(DEFAULT)) == 5)
    # The last of the others may not be recorded yet; the one that hangs is under way still.
    until(lambda: rows(tmp_path, "select name from bots where lease != ''") == [("dev",)])


def test_order_is_kept_per_bot(sandbox: Served, deploy: Deploy) -> None:
    box, api = sandbox
    box.fault(DEFAULT, "502", times=2)
    bridge = deploy(api).start()
    for n in range(10):
        bridge.post(new_version(n), "/default")
    until(lambda: len(box.messages(DEFAULT)) == 10)
    assert [f"App {n}" for n in range(10)] == [
        c.split("\n")[0].rsplit("</font> ")[1] for c in contents(box)
    ]


def test_sigterm_finishes_what_is_in_flight(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.latency = 1.5
    bridge = deploy(api).start()
    bridge.post(new_version())
    until(lambda: rows(tmp_path, "select count(*) from bots where lease != ''") == [(1,)])
    began = time.monotonic()
    assert bridge.stop() == 0
    assert time.monotonic() - began < 10
    assert rows(tmp_path, "select state from deliveries") == [("sent",)]


def test_sigterm_does_not_wait_for_a_wecom_that_hangs(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEFAULT, "hang", always=True)
    bridge = deploy(api).start()
    bridge.post(new_version())
    until(lambda: rows(tmp_path, "select count(*) from bots where lease != ''") == [(1,)])
    began = time.monotonic()
    bridge.stop()
    assert time.monotonic() - began < 10
    assert rows(tmp_path, "select state from deliveries") == [("pending",)]


def test_a_storage_that_cannot_be_written_is_a_503_and_heals(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    bridge = deploy(api).start()
    bridge.post(new_version(1))
    # WeCom has the message a moment before the bridge has it on record.
    until(lambda: rows(tmp_path, "SELECT state FROM deliveries") == [("sent",)])
    held = sqlite3.connect(tmp_path / "bridge.db", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    answer = bridge.post(new_version(2))
    held.execute("ROLLBACK")
    held.close()
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert bridge.post(new_version(2)).status_code == 200
    until(lambda: len(box.messages()) == 2)


def test_it_starts_without_a_database_and_says_so(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    bridge = deploy(api, DATABASE_URL=f"sqlite:///{tmp_path}/later/bridge.db").start()
    assert bridge.post(new_version()).status_code == 503
    ready = requests.get(f"{bridge.url}/readyz", timeout=20)
    assert ready.status_code == 503 and "database" in ready.text
    (tmp_path / "later").mkdir()
    assert bridge.post(new_version()).status_code == 200
    until(lambda: len(box.messages()) == 1)


def test_kill_9_loses_no_acknowledged_event(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    bridge = deploy(api, BRIDGE_RATE="1000000")
    acknowledged: set[str] = set()
    for round_ in range(12):
        bridge.start()
        dead = threading.Event()

        def load(worker: int, round_: int = round_, dead: threading.Event = dead) -> None:
            n = 0
            while not dead.is_set():
                title = f"r{round_}w{worker}n{n}"
                body = json.dumps({"type": "updateVersion", "title": title})
                try:
                    answer = bridge.post(body)
                except requests.RequestException:
                    return
                if answer.status_code == 200:
                    acknowledged.add(title)
                n += 1

        with ThreadPoolExecutor(4) as pool:
            for worker in range(4):
                pool.submit(load, worker)
            target = len(acknowledged) + 5 + 7 * round_
            until(lambda target=target: len(acknowledged) >= target)
            bridge.kill()
            dead.set()
    bridge.start()
    until(lambda: requests.get(f"{bridge.url}/readyz", timeout=20).json()["pending"] == 0)
    told = set(re.findall(r"r\d+w\d+n\d+", "\n".join(contents(box))))  # alone or in a digest
    assert len(acknowledged) > 12 * 5
    assert acknowledged <= told


def test_workers_of_several_processes_tell_each_event_once(sandbox: Served, deploy: Deploy) -> None:
    box, api = sandbox
    bridge = deploy(api, WEB_CONCURRENCY="3", BRIDGE_RATE="1000000").start()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: bridge.post(new_version(n), "/default"), range(60)))
    assert all(answer.status_code == 200 for answer in answers)
    until(lambda: len(box.messages()) >= 60)
    assert bridge.stop() == 0
    told = [content.split("\n")[0] for content in contents(box)]
    assert len(told) == len(set(told)) == 60


@pytest.mark.parametrize(
    "environ",
    [
        {"BRIDGE_RATE": "many", "BRIDGE_TIMEZONE": "Mars/Base", "BRIDGE_TYPO": "1"},
        {"BRIDGE_TOKEN": ""},
        {"WECOM_BOT_KEY": ""},
        {"PORT": "http"},
    ],
)
def test_a_bad_setting_stops_the_start_with_one_message(
    environ: dict[str, str], sandbox: Served, deploy: Deploy
) -> None:
    bridge = deploy(sandbox[1], **environ).start(wait=False)
    assert bridge.process and bridge.process.wait(30) == 2
    said = bridge.log.read_text()
    assert "Traceback" not in said
    for name in environ:
        assert said.count(name) == 1, said


def test_a_bad_route_stops_the_start_beside_the_other_problems(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    (tmp_path / "routes.toml").write_text('[[route]]\nbots = ["devv"]\ncolour = "red"\n')
    bridge = deploy(sandbox[1], BRIDGE_RATE="0").start(wait=False)
    assert bridge.process and bridge.process.wait(30) == 2
    said = bridge.log.read_text()
    for part in ("BRIDGE_RATE", "routes.toml:1 (rule 1)", "'devv'", "did you mean 'dev'", "colour"):
        assert part in said


def test_no_secret_shows_anywhere_under_any_fault(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    password = "an-admin-password/with+signs"
    bridge = deploy(
        api,
        LOG_LEVEL="DEBUG",
        BRIDGE_ADMIN_PASSWORD=password,
        GUNICORN_CMD_ARGS="--access-logfile - --log-level debug",
    ).start()
    replies: list[str] = []

    def keep(answer: requests.Response) -> None:
        replies.append(f"{answer.status_code} {answer.headers} {answer.text}")

    for n, fault in enumerate([*FAULTS, "warning", "hang", 40058, 93000]):
        box.fault(DEFAULT, fault)
        keep(bridge.post(new_version(n)))
        keep(bridge.post(new_version(n), "/dev"))
        count = f"select count(*) > {n} from attempts where bot = 'default' and verdict != ''"
        until(lambda count=count: rows(tmp_path, count) == [(1,)])
        assert requests.get(bridge.hook, timeout=20).ok
        connection = sqlite3.connect(tmp_path / "bridge.db")
        with connection:
            connection.execute("update bots set rest_until = 0")
        connection.close()
    for body in ("garbage", "{}", "", b" " * ((1 << 20) + 1)):
        keep(bridge.post(body))
    for path in ("/nobody", "/dev/", "/%00", "/dev?x=1"):
        keep(bridge.post("{}", path))
        keep(requests.get(bridge.hook + path, timeout=20))
        keep(requests.put(bridge.hook + path, timeout=20))
    keep(requests.post(f"{bridge.hook}-wrong", timeout=20))
    keep(requests.get(f"{bridge.url}/readyz", timeout=20))
    held = sqlite3.connect(tmp_path / "bridge.db", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    keep(bridge.post(new_version(99)))
    held.close()
    bridge.stop()
    outlets = {
        "the log": bridge.log.read_text(),
        "a reply": "\n".join(replies),
        **{file.name: file.read_bytes().decode("latin-1") for file in tmp_path.glob("*.db*")},
    }
    assert "DEBUG" in outlets["the log"] and "503" in outlets["a reply"]
    assert "/cgi-bin/webhook/send?key=***" in outlets["the log"]
    for name, text in outlets.items():
        for secret in (DEFAULT, DEV, TOKEN, password, "an-admin-password%2Fwith%2Bsigns"):
            assert secret not in text, f"{secret} stands in {name}"


def told_events(content: str) -> int:
    """How many events a message tells: a digest's lines end with ×N."""
    counts = re.findall(r"×(\d+)$", content, re.MULTILINE)
    if counts:
        assert f"共 {sum(map(int, counts))} 条" in content
    return sum(map(int, counts)) if counts else 1


def test_a_flood_is_told_whole_without_45009_however_wecom_counts(
    tmp_path: Path, deploy: Deploy
) -> None:
    """20 a minute and then a block, sliding or by the clock's minute, refused calls counted or not.

    1,000 crash logs of 4 versions and 200 different versions are all told within 70 s.
    """
    modes = [(window, refused) for window in ("sliding", "minute") for refused in (True, False)]
    boxes = [Sandbox(window=window, count_refused=refused) for window, refused in modes]
    crash = {"type": "crashlog", "title": "OooPlay", "device_type": "iOS"}
    bodies = [{**crash, "os_version": f"2.{n % 4}", "notes": f"crash {n}"} for n in range(1000)]
    bodies += [
        {"type": "updateVersion", "title": f"App {n}", "os_version": "1"} for n in range(200)
    ]
    with ExitStack() as stack:
        urls = [stack.enter_context(serve(box)) for box in boxes]
        bots = {
            f"WECOM_BOT_KEY_MODE{n}": f"{url}/cgi-bin/webhook/send?key=robot"
            for n, url in enumerate(urls)
        }
        bridge = deploy(urls[0], **bots).start()
        names = "/" + ",".join(f"mode{n}" for n in range(4))
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda body: bridge.post(json.dumps(body), names), bodies))
        assert {answer.status_code for answer in answers} == {200}
        left = "select count(*) from deliveries where state != 'sent'"
        until(lambda: rows(tmp_path, left) == [(0,)], patience=120)
        took = time.monotonic() - began
    for box in boxes:
        calls = list(box.calls)
        assert [call.errcode for call in calls] == [0] * len(calls)
        texts = contents(box)
        assert told_events(texts[0]) == 1 and "通知汇总" not in texts[0]
        assert sum(map(told_events, texts)) == 1200
        for n in range(200):
            assert sum(len(re.findall(rf"App {n}\b", text)) for text in texts) == 1
        assert all(size(text) <= 4096 for text in texts)
    assert took < 70


def test_what_waits_while_a_bot_rests_is_told_together(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    (tmp_path / "routes.toml").write_text('[[route]]\nmention = ["wang", "@all"]\n')
    box.fault(DEFAULT, 502)
    bridge = deploy(api, BRIDGE_RATE="4").start()
    for n in range(9):
        bridge.post(new_version(n))
    left = "select count(*) from deliveries where state != 'sent'"
    until(lambda: rows(tmp_path, left) == [(0,)], patience=90)
    texts = contents(box)
    digests = [text for text in texts if "通知汇总" in text]
    assert digests and all("<@wang>" in text for text in digests)
    calls = [call for call in box.messages() if call.msgtype == "text"]
    assert all(call.payload["text"]["mentioned_list"] == ["@all"] for call in calls)
    assert sum(told_events(text) for text in texts if "<@wang>" in text) == 9
    linked = "select count(distinct delivery_id) from attempt_deliveries"
    assert rows(tmp_path, linked) == [(9,)]


def test_a_long_crash_log_follows_as_a_whole_file(sandbox: Served, deploy: Deploy) -> None:
    box, api = sandbox
    bridge = deploy(api).start()
    crash = {
        "type": "crashlog",
        "title": "OooPlay",
        "device_type": "iOS",
        "os_version": "2.4",
        "build_version": "139",
        "notes": "崩溃 <redacted> 0x3094c49c\n" * 20_000,
    }
    bridge.post(json.dumps(crash, ensure_ascii=False))
    until(lambda: len(box.messages()) == 2)
    main, file = box.messages()
    assert main.msgtype == "markdown" and "已截断" in main.payload["markdown"]["content"]
    [upload] = [call for call in box.calls if call.path.endswith("upload_media")]
    assert upload.errcode == 0
    assert file.msgtype == "file"
    assert file.payload["file"]["media_id"] in box.robots[DEFAULT].media
    bridge.post(json.dumps({**crash, "notes": "short"}))
    until(lambda: len(box.messages()) == 3)
    assert "short" in contents(box)[-1]


def test_a_route_attaches_the_qr_code_and_can_do_without_the_log(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    (tmp_path / "routes.toml").write_text('[[route]]\nattach = "qrcode"\nmention = "@all"\n')
    bridge = deploy(api).start()
    link = "https://www.pgyer.com/abcd"
    bridge.post(json.dumps({"type": "crashlog", "link": link, "notes": "x" * 9999}))
    bridge.post(json.dumps({"type": "crashlog", "notes": "no link"}))
    until(lambda: len(box.messages()) == 5)
    kinds = [call.msgtype for call in box.messages()]
    assert kinds == ["markdown", "text", "image", "markdown", "text"]


@pytest.mark.parametrize(
    ("fault", "reason"), [("40058", "invalid_parameter"), ("93", "errcode_93")]
)
def test_an_attachment_that_fails_leaves_the_message_standing(
    fault: str, reason: str, sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    bridge = deploy(api, BRIDGE_RATE="1").start()
    bridge.post(json.dumps({"type": "crashlog", "notes": "x" * 9999}))
    until(lambda: len(box.messages()) == 1)
    until(lambda: rows(tmp_path, "select verdict from attempts") == [("sent",)])
    box.fault(DEFAULT, fault)
    connection = sqlite3.connect(tmp_path / "bridge.db")
    with connection:  # let the minute pass
        connection.execute("update attempts set ended_at = ended_at - 100")
        connection.execute("update bots set rest_until = 0")
    connection.close()
    until(lambda: rows(tmp_path, "select state from deliveries") == [("sent",)])
    assert rows(tmp_path, "select reason from deliveries") == [(reason,)]
    assert len(box.messages()) == 1


def test_a_card_template_arrives_as_a_card(sandbox: Served, deploy: Deploy, tmp_path: Path) -> None:
    box, api = sandbox
    templates = tmp_path / "templates"
    shutil.copytree(ROOT / "templates", templates)
    bridge = deploy(api, BRIDGE_TEMPLATES=str(templates)).start()
    for kind in ("news", "template_card", "markdown_v2"):
        for old in templates.glob("updateVersion.*"):
            old.unlink()
        shutil.copy(templates / "examples" / f"updateVersion.{kind}.j2", templates)
        bridge.post(samples()["updateVersion"], "/dev" if kind == "news" else "/default")
        until(lambda kind=kind: box.messages()[-1:] and box.messages()[-1].msgtype == kind)
        bridge.post(json.dumps({"type": "updateVersion", "title": kind, "link": "https://a.b/c"}))
        until(lambda kind=kind: kind in json.dumps(box.messages()[-1].payload))
        connection = sqlite3.connect(tmp_path / "bridge.db")
        with connection:  # forget it, so that the same sample is news again
            connection.execute("update events set payload_hash = ''")
        connection.close()
    assert requests.get(f"{bridge.url}/readyz", timeout=20).json()["problems"] == []
