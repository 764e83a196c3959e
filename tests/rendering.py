"""Short ways to render an event by a folder of templates."""

import json
from pathlib import Path
from zoneinfo import ZoneInfo

from support import ROOT

from bridge.messages.renderer import Renderer
from bridge.model import Event, Message, Target
from bridge.receiving.decoding import decode
from bridge.sandbox.rules import judge

SHANGHAI = ZoneInfo("Asia/Shanghai")
SHIPPED = ROOT / "templates"
SHIPPED_RENDERER = Renderer(SHIPPED, SHANGHAI)
FORMER = ROOT / "tests" / "messages" / "former_templates"
TO_DEFAULT = Target("default")


def decoded(**payload: object) -> Event:
    """The event that a body with these fields is decoded to."""
    return decode(json.dumps(payload, ensure_ascii=False).encode(), 1_800_000_000.0)[0]


def folder(path: Path, **files: str) -> Path:
    """A folder of templates; `__` in a name stands for its dots."""
    for name, text in files.items():
        (path / f"{name.replace('__', '.')}.j2").write_text(text, encoding="utf-8")
    return path


def rendered(renderer: Renderer, event: Event, target: Target = TO_DEFAULT) -> str:
    """The text of the only message that an event becomes."""
    [message] = renderer.messages(event, target)
    return str(message.body["content"])


def accepted(message: Message) -> bool:
    """Tell whether WeCom would take a message."""
    return judge(message.to_json(), ()) == (0, "ok")
