"""A template that one process saves is used by another with its next message."""

from collections.abc import Callable
from pathlib import Path

from console_client import Console, serve
from support import ROOT, Deployment, until

from bridge.sandbox import Sandbox

FILE = "feedback.text.j2"


def contents(box: Sandbox) -> list[str]:
    return [call.payload[call.payload["msgtype"]]["content"] for call in box.messages()]


def check_two_processes(
    console: Console, bridge: Deployment, box: Sandbox, restart: Callable[[], object]
) -> None:
    """Save in this process; the deployment, which sends, has its own."""

    def sent(title: str) -> str:
        before = len(box.messages())
        assert bridge.post(f'{{"type": "feedback", "title": "{title}"}}').status_code == 200
        until(lambda: len(box.messages()) == before + 1, f"{title} arrives")
        return contents(box)[-1]

    def save(source: str) -> None:
        answer = console.post(f"/templates/{FILE}/save", "/bots", source=source)
        assert answer.status_code == 303, answer.text

    assert "用户反馈" in sent("one")
    save("first {{ title }}")
    assert sent("two") == "first two"
    save("second {{ title }}")
    assert sent("three") == "second three"
    restart()
    assert sent("four") == "second four"
    console.post(f"/templates/{FILE}/restore", "/bots")
    assert "用户反馈" in sent("five")


def test_a_saved_template_is_used_by_another_process(
    sandbox: tuple[Sandbox, str],
    deploy: Callable[..., Deployment],
    database_url: str,
    tmp_path: Path,
) -> None:
    box, api = sandbox
    bridge = deploy(api, DATABASE_URL=database_url, BRIDGE_RATE="1000").start()
    before = {path.name: path.read_text() for path in (ROOT / "templates").glob("*.j2")}
    console = serve(tmp_path, DATABASE_URL=database_url)
    console.sign_in()

    def restart() -> None:
        assert bridge.stop() == 0
        bridge.start()

    check_two_processes(console, bridge, box, restart)
    assert before == {path.name: path.read_text() for path in (ROOT / "templates").glob("*.j2")}
    assert bridge.stop() == 0
    console.bridge.close()
