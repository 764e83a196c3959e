"""What arrives in the groups: every sample, routes, attachments, cards."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
import requests
from support import ROOT, until
from system_helpers import DEFAULT, DEV, Deploy, Served, contents, rows

from bridge.samples import samples


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
    came = 0
    for n, (name, body) in enumerate(samples().items(), 1):
        answer = bridge.post(body)
        assert answer.status_code == 200
        assert answer.json() == {"status": "accepted", "event": n, "bots": ["default"]}
        kinds = ["markdown", "file"] if name == "crashlog" else ["markdown"]
        came += len(kinds)
        until(lambda n=came: len(box.messages(DEFAULT)) == n, f"{name} arrives")
        assert [call.msgtype for call in box.messages(DEFAULT)[-len(kinds) :]] == kinds
        content = contents(box, DEFAULT)[-len(kinds)]
        assert heads[name] in content.split("\n")[0]
        fields = json.loads(body)
        for shown in ("title", "os_version", "device_type", "build_version", "link"):
            assert fields[shown] in content
        for nonsense in ("None", "null", "undefined", "{{"):
            assert nonsense not in content


def test_the_samples_of_pgyer_s_documentation_arrive_and_so_does_what_nobody_knows(
    sandbox: Served, deploy: Deploy
) -> None:
    box, api = sandbox
    bridge = deploy(api).start()
    heads = {"updateVersion": "新版本", "feedback": "用户反馈", "crashlog": "崩溃日志"}
    for n, (name, head) in enumerate(heads.items(), 1):
        body = (ROOT / "tests" / "pgyer_samples" / f"{name}.txt").read_bytes()
        assert bridge.post(body).json() == {"status": "accepted", "event": n, "bots": ["default"]}
        until(lambda n=n: len(box.messages(DEFAULT)) == n, f"{name} arrives")
        content = contents(box, DEFAULT)[-1]
        for shown in (head, "OooPlay 2.4", "iOS · 构建 139", "(http://www.pgyer.com/oooplay_test)"):
            assert shown in content
    # Without known fields, all that came is shown.
    bridge.post('{"type": "somethingNew", "title": null, "who": "me", "n": 3, "x": {"y": [1]}}')
    until(lambda: len(box.messages()) == 4)
    content = contents(box)[-1]
    for shown in ("somethingNew", "who：me", "n：3", "x.y：1"):
        assert shown in content
    assert "null" not in content and "None" not in content


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
