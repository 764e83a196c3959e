"""Hostile values and templates: a message results, WeCom takes it, and nothing in it acts."""

import itertools
import json
import random
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import requests
from support import ROOT, Deployment
from trust.load import Figure, new_version, settle
from trust.scale import scaled

from bridge.messages.html import to_html
from bridge.messages.renderer import Renderer
from bridge.model import FIELDS, Delivery, Event, Target
from bridge.receiving.event_types import KNOWN_TYPES
from bridge.sandbox import Sandbox, rules

MESSAGES = scaled(400, 20_000)
SEED = 41
LINK = "https://www.pgyer.com/abcd"
# `evil` and `zq` come from outside, each inside of a construct: then it must not be made.
_ACTS = re.compile(
    r"<(?:a|img)\b[^>]*(?:zq|evil)"
    r"|<(?:b|strong|em|code|pre|h\d|s|del|th|td|li|span|font)\b[^>]*>zq<"
    r'|class="mention[^"]*">\s*@?zq'
)
_CALLED = re.compile(r"<@([^<>\s\u200b]++)>")
_PIECES = (
    "[zq](http://evil.example)", "![zq](http://evil.example/x.png)", "<@zq>", "<@all>", "@all",
    '<font color="warning">zq</font>', "**zq**", "__zq__", "`zq`", "```\nzq\n```", "~~zq~~",
    "\n# zq", "\n> zq", "\n- zq", "\n1. zq", "\n| zq | b |\n|---|---|\n| zq | d |", "\nzq\n===",
    "[zq]: http://evil.example\n[zq]", "<http://evil.example/zq>", "&lt;@zq&gt;", "\\*zq\\*",
    "<a href='http://evil.example'>zq</a>", "{{ zq }}", "{% zq %}", "*", "_", "`", "[", "](", ")",
    "<", ">", "|", "#", "!", "\\", "\n", "\r\n", "\u2028", "\u202e", "\ufeff", "\0", "\x1b[31m",
    "应用", "🎵", "👨‍👩‍👧", " ", "None", "null", "x" * 300, "字" * 1500, "a\n" * 900,
)  # fmt: skip


def hostile(dice: random.Random, kind: str) -> Event:
    """Return an event with hostile text in every field but the link."""

    def text() -> str:
        return "".join(dice.choices(_PIECES, k=dice.choice((1, 1, 2, 3, 6))))

    payload = {name: text() for name in FIELDS if dice.random() < 0.8}
    payload |= {text()[:40]: text() for _ in range(dice.randrange(3))}
    payload |= {"type": kind, "link": LINK}
    for name in {"title", "os_version"} & payload.keys():  # an example's own heading begins so
        payload[name] = f"应用{payload[name]}"
    return Event(kind, payload, 1_800_000_000.0, id=1)


def check(message: object, found: Event) -> None:
    """Refuse a message that WeCom would not take, or in which something from outside acts."""
    body = message.to_json()  # type: ignore[attr-defined]
    assert rules.judge(json.loads(json.dumps(body)), ("m1",)) == rules.OK, f"{body} of {found}"
    html = to_html(message)  # type: ignore[arg-type]
    if body["msgtype"] == "text":  # there a bare address is a link, whoever wrote it
        html = re.sub(r"<a\b[^>]*>", "", html)
    acting = _ACTS.search(html)
    content = str(body[body["msgtype"]].get("content", ""))
    if body["msgtype"] != "markdown_v2":  # where nothing calls anybody
        assert set(_CALLED.findall(content)) <= {"wang"}, f"{body} of {found}"
    assert not acting, f"{acting and acting[0]!r} acts in {body} of {found}"


def test_hostile_values_do_nothing_in_any_message(tmp_path: Path, figure: Figure) -> None:
    print(f"seed {SEED}")
    dice, count = random.Random(SEED), 0
    shipped = Renderer(ROOT / "templates", ZoneInfo("Asia/Shanghai"))
    folders = [shipped]
    for number, example in enumerate(sorted((ROOT / "templates" / "examples").iterdir())):
        folder = tmp_path / str(number)
        shutil.copytree(ROOT / "templates", folder)
        for other in folder.glob(f"{example.name.split('.')[0]}.*"):
            other.unlink()
        shutil.copy(example, folder)
        folders.append(Renderer(folder, ZoneInfo("Asia/Shanghai")))
    kinds = [*KNOWN_TYPES, "somethingNew", "test", ""]
    for renderer, kind in itertools.islice(
        itertools.cycle(itertools.product(folders, kinds)), MESSAGES
    ):
        event = hostile(dice, kind)
        target = Target("default", ("wang", "@all"), attach=("log", "qrcode"))
        messages = renderer.messages(event, target)
        if dice.random() < 0.1:
            others = [hostile(dice, dice.choice(kinds)) for _ in range(dice.randrange(1, 40))]
            digest, carried = renderer.digest(
                [Delivery(n, one, target) for n, one in enumerate([event, *others])]
            )
            assert carried
            messages.append(digest)
        for message in messages:
            if message.msgtype != "file":
                check(message, event)
                count += 1
    figure(f"{count:,} messages with hostile values: WeCom's rules take each, nothing acts")


HOSTILE_TEMPLATES = {
    "endless": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "power": "{{ 9 ** (9 ** 9) }}",
    "long": "{{ 'x' * 10**9 }}",
    "doubling": "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}"
    "{% endfor %}{{ n.x }}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "self": "{% include 'self.markdown.j2' %}",
    "escape": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "file": "{% include '/etc/passwd' %}",
    "syntax": "{% if %}",
    "unknown": "{{ nothing.at.all }}{{ 1 / 0 }}",
    "blank": "   \n\t",
    "none": "",
    "gbk": "版本".encode("gbk"),
    "utf16": "版本 {{ title }}".encode("utf-16"),
    "nul": b"\0\0\0",
}


def test_hostile_templates_cost_no_event(
    sandbox: tuple[Sandbox, str], deploy: Callable[..., Deployment], tmp_path: Path, figure: Figure
) -> None:
    box, api = sandbox
    templates = tmp_path / "templates"
    shutil.copytree(ROOT / "templates", templates)
    for name, text in HOSTILE_TEMPLATES.items():
        data = text if isinstance(text, bytes) else text.encode()
        (templates / f"{name}.markdown.j2").write_bytes(data)
    bridge = deploy(api, BRIDGE_TEMPLATES=str(templates), BRIDGE_RATE="1000").start()
    longest = 0.0
    for name in HOSTILE_TEMPLATES:
        answer = bridge.post(json.dumps({"type": name, "title": f"the {name} one"}))
        assert answer.status_code == 200
        began = time.monotonic()
        assert requests.get(f"{bridge.url}/healthz", timeout=30).ok
        longest = max(longest, time.monotonic() - began)
    assert bridge.post(new_version("goes on")).status_code == 200
    settle(bridge)
    texts = [call.payload["markdown"]["content"] for call in box.messages()]
    for name in HOSTILE_TEMPLATES:
        assert any(f"the {name} one" in text for text in texts), f"{name}: {texts}"
    assert any("goes on" in text for text in texts)
    for text in texts:
        assert "root:" not in text and "uid=" not in text and "class '" not in text
    assert bridge.stop() == 0
    figure(
        f"{len(HOSTILE_TEMPLATES)} hostile templates: every event was sent; the health check took "
        f"{longest:.1f} s at most"
    )
