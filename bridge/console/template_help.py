"""What helps to write a template: variables, filters, texts to begin with, differences."""

import difflib
from collections.abc import Mapping, Sequence
from contextlib import suppress

from bridge.messages.digest import COUNTED, group_deliveries
from bridge.messages.file_names import msgtype_of
from bridge.model import FIELDS, Delivery, Event, Target, as_text
from bridge.msgtypes import TEXT_LIMITS
from bridge.settings import default_templates
from bridge.wiring import bridge
from bridge.wording import N_
from bridge.wording import gettext as _

_MOST = 60  # variables
_LINES = 2000  # of a text that is compared

MEANINGS = {
    "action": N_("the event's name"),
    "title": N_("the app"),
    "link": N_("the app's page"),
    "message": N_("Pgyer's sentence"),
    "type": N_("the event's type"),
    "os_version": N_("version"),
    "build_version": N_("build"),
    "created": N_("made at"),
    "updated": N_("updated at"),
    "timestamp": N_("sent at"),
    "appsize": N_("size in bytes"),
    "device_type": N_("platform"),
    "appQRCodeURL": N_("QR picture"),
    "notes": N_("release notes, feedback or stack"),
    "event.id": N_("the event's number"),
    "event.type": N_("the event's type, as the bridge knows it"),
    "mention": N_("who is mentioned, by the route"),
    "total": N_("how many events"),
    "hidden": N_("how many have a text that is not listed"),
    "group.name": N_("what the type is called"),
    "group.count": N_("how many"),
    "group.times": N_("×76, empty for a single one"),
    "group.version": N_("the newest version"),
    "group.versions": N_("how many versions"),
    "console": N_("the console's page of events"),
}


def variables(file: str, event: Event, earlier: Sequence[Event]) -> dict[str, str]:
    """Return what a template can print of an event, by name; those with a value first."""
    if file.startswith("digest."):
        target = Target("default")
        deliveries = [Delivery(n, each, target) for n, each in enumerate([*earlier, event])]
        group = group_deliveries(deliveries)[0].variables(COUNTED)
        values = {"total": len(deliveries), "hidden": 0, "console": "", "mention": ""}
        texts = {name: value for name, value in group.items() if not isinstance(value, list)}
        values |= {f"group.{name}": value for name, value in texts.items()}
    else:
        more = {_path(name): value for name, value in event.payload.items() if name not in FIELDS}
        about = {"event.id": event.id, "event.type": event.type, "mention": ""}
        values = {**event.fields, **more, **about}
    lines = {name: " ".join(as_text(v).split()) for name, v in list(values.items())[:_MOST]}
    return dict(sorted(lines.items(), key=lambda line: not line[1]))


def _path(name: str) -> str:
    return f"payload.{name}" if name.isidentifier() else f"payload[{name!r}]"


def filters(file: str) -> list[tuple[str, str]]:
    """Return what a template of this name can do: code to insert, and what it gives."""
    msgtype = msgtype_of(file) or "markdown"
    found = _digest_loops() if file.startswith("digest.") else _event_filters(msgtype)
    if msgtype == "markdown":
        found += [
            ("{{ '文字'|color('info') }}", N_("green")),
            ("{{ '文字'|color('comment') }}", N_("grey")),
            ("{{ '文字'|color('warning') }}", N_("orange-red")),
        ]
    return found


def _event_filters(msgtype: str) -> list[tuple[str, str]]:
    found = [
        ("{{ build_version|optional }}", N_("goes with its part of the line where it is empty")),
        ("{% if notes %}\n{{ notes }}\n{% endif %}", N_("only where there is a value")),
        ("{{ appsize|filesize }}", N_("a size, such as 2.1 MB")),
        ("{{ (updated or created)|datetime('%m-%d %H:%M') }}", N_("a time in the bridge's zone")),
        ("{{ notes|truncate(100) }}", N_("the first 100 characters")),
        ("{{ notes|stack(6) }}", N_("the first 6 lines of a stack")),
        ("{{ link|qrcode }}", N_("the address of the app's QR picture")),
        ("{{ build.icon }}", N_("the app's icon, where PGYER_API_KEY is set")),
        ("{{ build.qrcode }}", N_("the build's own QR picture, likewise")),
    ]
    if msgtype in TEXT_LIMITS:
        found.append(("{{ '下载安装'|link(link) }}", N_("a link")))
    if msgtype in ("markdown", "markdown_v2"):
        found.append(("{{ notes|quote }}", N_("every line as a quote")))
    return found


def _digest_loops() -> list[tuple[str, str]]:
    line = "{{ group.title }} {{ group.name }} {{ group.times }}"
    text = "> {{ text.version|optional }} {{ text.notes|optional }}"
    return [
        (f"{{% for group in groups %}}\n{line}\n{{% endfor %}}", N_("a line for each app")),
        (
            f"{{% for text in group.newest %}}\n{text}\n{{% endfor %}}",
            N_("an app's newest texts, within its line"),
        ),
    ]


def starts(in_folder: Mapping[str, str], msgtype: str = "") -> dict[str, str]:
    """Return texts to begin a template with, of one msgtype or all: examples, and the files."""
    found = {}
    for folder in (default_templates(), bridge.settings.templates):
        for path in sorted(folder.glob("examples/*.j2")):
            with suppress(OSError, UnicodeError):
                path.name.encode()
                found[f"examples/{path.name}"] = path.read_text(encoding="utf-8-sig")
    found |= dict(sorted(in_folder.items()))
    return {
        name: text
        for name, text in found.items()
        if msgtype_of(name) == msgtype or (not msgtype and msgtype_of(name))
    }


def best_start(file: str, texts: Mapping[str, str]) -> str:
    """Return the text that fits a new template best: of its msgtype, and of its type if any is."""
    fitting = [name for name in texts if msgtype_of(name) == msgtype_of(file)]
    if not msgtype_of(file):
        use = f"{{% import '{file}' as m with context %}}"
        return f"{{# {_('For other templates')}: {use} #}}\n"

    def likeness(name: str) -> tuple[int, bool]:
        own = name.removeprefix("examples/").split(".")[0]
        return len(own) * file.lower().startswith(own.lower()), own == "default"

    return texts[max(fitting, key=likeness)] if fitting else ""


def difference(before: str, after: str | None) -> list[tuple[str, str]]:
    """Return lines of a unified difference, each with `added`, `removed`, `place` or ''."""
    if after is None:
        return []
    old, new = (text.splitlines()[:_LINES] for text in (before, after))
    kinds = {"+": "added", "-": "removed", "@": "place"}
    lines = list(difflib.unified_diff(old, new, lineterm=""))[2:]  # without the names of files
    return [(kinds.get(line[0], ""), line) for line in lines]
