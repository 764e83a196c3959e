"""More events than the rate lets through."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from support import Session, until
from system_helpers import DEFAULT, Deploy, Served, contents, new_version, rows

from bridge.messages.markdown import size
from bridge.sandbox import Sandbox, serve


def sent_events(content: str) -> int:
    """How many events a message is about: a digest says it for each group and for all."""
    if "通知汇总" not in content:
        return 1
    groups = re.findall(r"^(?!#|>|<@|另有).+$", content, re.MULTILINE)
    found = (re.search(r" ×(\d+)|(\d+) [个条]", group) for group in groups)
    total = sum(int(count[1] or count[2]) if count else 1 for count in found)
    assert f"共 {total} 条" in content
    return total


def test_a_flood_is_told_whole_without_45009_however_wecom_counts(
    tmp_path: Path, deploy: Deploy
) -> None:
    """20 a minute and then a block, sliding or by the clock's minute, refused calls counted or not.

    1,000 crash logs of 4 versions and 200 different versions are all sent within 70 s.
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

        def post(some: list[dict[str, str]]) -> None:
            with Session() as session:
                for body in some:
                    assert bridge.post(json.dumps(body), names, session).status_code == 200

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(post, [bodies[n::8] for n in range(8)]))
        left = "select count(*) from deliveries where state != 'sent'"
        until(lambda: rows(tmp_path, left) == [(0,)], patience=120)
    for box in boxes:
        calls = list(box.calls)
        assert [call.errcode for call in calls] == [0] * len(calls)
        texts = contents(box)
        assert sent_events(texts[0]) == 1 and "通知汇总" not in texts[0]
        assert sum(map(sent_events, texts)) == 1200
        for n in range(200):
            assert sum(len(re.findall(rf"App {n}\b", text)) for text in texts) == 1
        assert all(size(text) <= 4096 for text in texts)


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
    assert sum(sent_events(text) for text in texts if "<@wang>" in text) == 9
    linked = "select count(distinct delivery_id) from attempt_deliveries"
    assert rows(tmp_path, linked) == [(9,)]
