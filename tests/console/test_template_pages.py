"""The template pages: list, live preview and its limits, download."""

import os
import re
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from console_client import Console, serve
from support import PATIENCE, ROOT, until

from bridge.console.template_pages import MAX_SOURCE
from bridge.messages import child
from bridge.messages.child import ChildError
from bridge.messages.renderer import Renderer
from bridge.model import Event, Message, Target
from bridge.samples import examples

UTC = ZoneInfo("UTC")
FILE = "crashlog.markdown.j2"


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """A console, somebody who has signed in, and a folder of templates of its own."""
    folder = tmp_path / "templates"
    folder.mkdir()
    for file in (ROOT / "templates").glob("*.j2"):
        (folder / file.name).write_text(file.read_text())
    for file in (ROOT / "templates/examples").glob("*.j2"):
        (folder / f"my-{file.name}").write_text(file.read_text())
    made = serve(tmp_path, BRIDGE_TEMPLATES=str(folder))
    made.sign_in()
    yield made
    made.bridge.close()


def preview(console: Console, source: str, file: str = FILE, event: str = "crashlog") -> str:
    answer = console.post("/templates/preview", "/bots", source=source, file=file, event=event)
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


def findings(page: str) -> list[str]:
    found = re.findall(r'<li class="(\w+)">(.*?)</li>', page, re.DOTALL)
    return [f"{level}: {re.sub('<[^>]*>', '', text).strip()}" for level, text in found]


def test_the_list_says_what_each_file_is_and_who_uses_it(tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    for name, source in {
        "_macros.j2": "",
        "crashlog.text.j2": "{{ title }}",
        "default.markdown.j2": "{{ title }}",
        "short.markdown.j2": "{{ title }}",
        "broken.markdown.j2": "\n{{ title",
        "wrong.html.j2": "",
        "digest.markdown.j2": "{{ total }}",
    }.items():
        (folder / name).write_text(source)
    routes = tmp_path / "routes.toml"
    routes.write_text('[[route]]\ntype = "nothing"\ntemplate = "short"\n')
    console = serve(tmp_path, BRIDGE_TEMPLATES=str(folder), BRIDGE_ROUTES=str(routes))
    console.sign_in()
    for body in ({"type": "crashlog"}, {"type": "feedback"}, {"type": "somethingNew"}, {}):
        console.event(body)
    rows = {
        found[1]: " ".join(re.sub("<[^>]*>", " ", found[0]).split())
        for found in re.finditer(
            r'<li>\s*<a class="file-name"[^>]*>([^<]*)</a>.*?</li>',
            console.page("/templates"),
            re.DOTALL,
        )
    }
    assert rows["crashlog.text.j2"] == "crashlog.text.j2 text valid crash log"
    others = "events without a type feedback somethingNew"
    assert rows["default.markdown.j2"] == f"default.markdown.j2 markdown valid {others}"
    filters = console.page("/events").partition('name="bot"')[0]
    assert 'value="somethingNew"' in filters and filters.count('<option value="">') == 1
    assert rows["short.markdown.j2"].endswith("valid route rule 1")
    assert rows["_macros.j2"] == "_macros.j2 helper valid used by the others"
    assert rows["digest.markdown.j2"].endswith("several deliveries together")
    assert "broken no stored event uses it broken.markdown.j2:2: " in rows["broken.markdown.j2"]
    assert "the name must end in .&lt;msgtype&gt;.j2" in rows["wrong.html.j2"]
    for file in rows:
        assert file in console.page(f"/templates/{file}")
    console.bridge.close()


def test_every_template_that_comes_with_the_bridge_has_a_page_without_complaint(
    console: Console,
) -> None:
    for file, source in console.bridge.renderer.files.items():
        page = console.page(f"/templates/{file}")
        assert unescape(page).count(source) == 1
        assert findings(page) == ["fine: No problems found."], file
        assert str(console.bridge.settings.templates / file) in page


def test_each_file_opens_with_the_example_that_it_is_used_for(console: Console) -> None:
    for file, kind in {
        FILE: "crashlog",
        "my-updateVersion.news.j2": "updateVersion",
        "botStopped.markdown.j2": "botStopped",
    }.items():
        page = console.page(f"/templates/{file}")
        assert f'<option value="{kind}" selected>' in page, file


def test_the_preview_is_what_the_group_would_get(console: Console) -> None:
    source = (ROOT / "templates" / FILE).read_text()
    event = examples()["crashlog"]
    [message] = console.bridge.renderer.messages(event, Target("default"))
    page = preview(console, source)
    size = len(message.body["content"].encode())
    assert f"{size} of 4096 bytes" in page
    assert "崩溃日志" in page and "java.util.ArrayList.get" in page
    assert preview(console, source.replace("\n", "\r\n")) == page
    assert "七七" in preview(console, source + "\n七七")


def test_a_stored_event_can_be_previewed_by_its_number(console: Console) -> None:
    number = console.event({"type": "crashlog", "title": "Mine"})
    assert "Mine" in preview(console, "{{ title }}", event=str(number))
    page = console.page(f"/templates/{FILE}?id={number}")
    assert "Mine" in page and f'<option value="{number}" selected>' in page
    for typed in (f"#{number}", f" {number} "):
        assert "Mine" in preview(console, "{{ title }}", event=typed)
    for wrong in ("99", "x", "", "9" * 40, "²"):
        answer = console.post("/templates/preview", "/bots", source="", file=FILE, event=wrong)
        assert answer.status_code == 404
        assert f"There is no event {wrong};" in answer.text


def test_an_id_outside_the_list_is_in_its_field(console: Console) -> None:
    for n in range(25):
        console.event({"title": f"App {n}"})
    assert re.search(r'name="id"[^>]* value="1"', console.page(f"/templates/{FILE}?id=1"))


@pytest.mark.parametrize(
    ("file", "shown"),
    [("my-updateVersion.news.j2", 'class="card"'),
     ("my-updateVersion.template_card.j2", 'class="card"'),
     ("my-updateVersion.markdown_v2.j2", "<table>"), ("my-crashlog.text.j2", "[崩溃日志]"),
     ("digest.markdown.j2", "共 20 条"), ("test.markdown.j2", "测试消息")],
)  # fmt: skip
def test_every_msgtype_has_a_preview(console: Console, file: str, shown: str) -> None:
    source = console.bridge.renderer.files[file]
    page = preview(console, source, file, "updateVersion")
    assert shown in page
    assert ("bytes of JSON" in page) is ("news" in file or "card" in file)
    assert ("of 2048 bytes" in page) is (".text." in file)


def test_a_helper_is_seen_through_the_template_that_uses_it(console: Console) -> None:
    folder = console.bridge.settings.templates
    (folder / FILE).write_text("{% import '_ours.j2' as ours %}{{ ours.head() }}")
    (folder / "_ours.j2").write_text("{% macro head() %}旧：{% endmacro %}")
    assert '<option value="updateVersion" selected>' in console.page("/templates/_ours.j2")
    source = console.bridge.renderer.files["_ours.j2"].replace("旧", "新")
    assert "新：" in preview(console, source, "_ours.j2", "crashlog")


def test_a_helper_without_any_template_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "_macros.j2").write_text("")
    console = serve(tmp_path, BRIDGE_TEMPLATES=str(folder))
    console.sign_in()
    assert "There is no message to show" in console.page("/templates/_macros.j2")
    console.bridge.close()


def test_files_with_names_that_are_not_utf8_are_named_and_cost_no_page(console: Console) -> None:
    folder = console.bridge.settings.templates
    (folder / "examples").mkdir()
    for name in (b"\xd0\xc2.j2", b"\xd0\xc2.markdown.j2.txt", b"examples/\xd0\xc2.markdown.j2"):
        (folder / os.fsdecode(name)).write_text("{{ title }}")
    problem = "\\xd0\\xc2.j2: the file cannot be read: its name is not UTF-8"
    for path in ("/", "/templates"):
        assert problem in unescape(console.page(path))
    assert problem in console.client.get("/readyz").json["problems"][0]  # type: ignore[index]
    assert console.get(f"/templates/{FILE}").status_code == 200
    assert console.get("/templates/%5Cxd0%5Cxc2.j2").status_code == 200
    assert findings(preview(console, "{{ title }} {{ link }}")) == ["fine: No problems found."]


def test_an_event_s_page_sets_and_clears_no_failure_of_a_template(console: Console) -> None:
    (console.bridge.settings.templates / FILE).write_text("{{ 1 // (title|int - 7) }} {{ link }}")
    bad, good = (console.event({"type": "crashlog", "title": n}) for n in ("7", "8"))
    console.page(f"/events/{bad}")
    assert console.bridge.renderer.problems_by_file == {}
    event = console.bridge.queries.event(bad)
    assert event
    console.bridge.renderer.messages(event, Target("default"))
    console.page(f"/events/{good}")
    assert FILE in console.bridge.renderer.problems_by_file


def test_nothing_of_a_preview_is_saved(console: Console) -> None:
    before = dict(console.bridge.renderer.files)
    preview(console, "{{ broken")
    assert console.bridge.renderer.files == before
    assert console.bridge.renderer.problems == []


@pytest.mark.parametrize(
    ("source", "complaint"),
    [("one\n{% if %}", "error: line 2 a variable or a text is missing before %}"),
     ("one\ntwo\n{{ 1 / 0 }}", "error: line 3 it fails: ZeroDivisionError"),
     ("{{ title|nosuch }}", "error: line 1 there is no filter nosuch"),
     ("{% include 'no.j2' %}", "error: "),
     ("字" * 3000, "error: "),
     ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
      "takes more than 1 s"),
     ("{{ ''.__class__.__mro__ }}", "out of a template's reach"),
     ("{{ 'x' * 999999999 }}", "more than"),
     ("{% for a in [1] %}" * 200, "error: "),
     ("{{ " + "(" * 5000 + ")" * 5000 + " }}", "error: ")],
)  # fmt: skip
def test_a_broken_or_costly_template_is_reported_in_time(
    console: Console, source: str, complaint: str
) -> None:
    began = time.monotonic()
    page = preview(console, source)
    assert time.monotonic() - began < PATIENCE
    assert "There is no message to show" in page
    assert any(complaint in text for text in findings(page)), findings(page)


@pytest.mark.parametrize(
    "source",
    ["\n" * 65_000, "![" * 32_000, "{{ 1" + " < 1" * 16_000 + " }}", "[" * 65_000, "|" * 65_000,
     "{% set x = [" + "0," * 20_000 + "] * 9999 %}", "{{ a }}" * 9_000, "*a " * 20_000,
     "".join(f"{{{{x{n}}}}}" for n in range(6_000)), " \n" * 32_000, "{" * 65_000,
     "{% if x %}" * 6_500, "{{ 9 ** 10 ** 9 }}", "{{ '%99999d' % 1 }}",
     "{% set n = namespace(x='a') %}{% for i in range(40) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
     "{{ n.x|upper }}"],
)  # fmt: skip
def test_no_draft_takes_this_process_s_time(console: Console, source: str) -> None:
    preview(console, "warm")
    began = time.process_time()
    preview(console, source)
    assert time.process_time() - began < 1  # generous: it only sends the draft and shows the result
    assert "fine 1" in preview(console, "fine {{ 1 }}")


def test_a_draft_without_a_child_process_is_not_shown(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*args: object, **options: object) -> None:
        raise ChildError("no process")

    monkeypatch.setattr(child, "run", run)
    page = preview(console, "- a list {{ titel }}")
    assert "There is no message to show" in page
    # Nothing of it was read in this process.
    assert findings(page) == ["error: no preview is possible now: no process"]


def test_a_hostile_template_stays_text(console: Console) -> None:
    page = console.post(
        "/templates/preview", "/bots", file=FILE, event="crashlog",
        source="<script>alert(1)</script>[x](javascript:alert(1)){{ '<img src=x>'|safe }}",
    ).text  # fmt: skip
    assert "<script" not in page and "<img" not in page and "href=" not in page


def test_a_preview_refuses_long_text_and_unknown_files(console: Console) -> None:
    long = "x" * (MAX_SOURCE + 1)
    for path in ("/templates/preview", f"/templates/{FILE}/download"):
        answer = console.post(path, "/bots", source=long, file=FILE, event="crashlog")
        assert answer.status_code == 413
        assert "A template has at most" in answer.text
    answer = console.post("/templates/preview", "/bots", source="", file="../x", event="crashlog")
    assert answer.status_code == 404


def test_a_preview_comes_while_one_types(console: Console) -> None:
    token = console.token("/bots")
    data = {"csrf_token": token, "source": console.bridge.renderer.files[FILE], "file": FILE,
            "event": "crashlog"}  # fmt: skip

    def is_quick() -> bool:
        began = time.perf_counter()
        assert console.client.post("/console/templates/preview", data=data).status_code == 200
        return time.perf_counter() - began < 0.3

    until(is_quick, "one is made that the machine did not interrupt")


def test_the_text_can_be_downloaded_as_a_file(console: Console) -> None:
    answer = console.post(f"/templates/{FILE}/download", "/bots", source="a\r\n字")
    assert answer.data == "a\n字".encode()
    assert answer.headers["Content-Disposition"] == f"attachment; filename={FILE}"
    assert console.post("/templates/none.j2/download", "/bots").status_code == 404


def test_a_cut_is_reported(console: Console) -> None:
    number = console.event({"type": "crashlog", "notes": "长" * 5000, "title": "A"})
    page = preview(console, "{{ title }} {{ notes }}", event=str(number))
    assert "note: long values were shortened so that the message fits" in findings(page)
    assert 'svg class="meter full"' in page


def test_the_renderer_previews_without_touching_its_folder(tmp_path: Path) -> None:
    (tmp_path / "_macros.j2").write_text("{% macro a() %}old{% endmacro %}")
    (tmp_path / "default.text.j2").write_text("{% import '_macros.j2' as m %}{{ m.a() }}")
    renderer = Renderer(tmp_path, UTC)
    event, target = Event("x", {}, 0.0), Target("default")
    source = "{% import '_macros.j2' as m %}{{ m.a() }} new"
    assert renderer.draft(source, "default.text.j2", event, target) == (
        Message("text", {"content": "old new"}), False
    )  # fmt: skip
    changed = "{% macro a() %}changed{% endmacro %}"
    found = renderer.draft(changed, "_macros.j2", event, target)
    assert found == (Message("text", {"content": "changed"}), False)
    assert renderer.messages(event, target)[0].body["content"] == "old"
