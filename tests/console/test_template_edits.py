"""What the template pages change: save, put back, begin anew."""

import re
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from console_client import Console, flashed, path_of, serve
from werkzeug.test import TestResponse

from bridge.messages.saving import MAX_SOURCE
from bridge.model import Event, Target

FILE = "crashlog.markdown.j2"
HELPER = "_shared.j2"
USES = "{% import '_shared.j2' as s %}{{ s.head() }} {{ title }} {{ link }}\n"
FILES = {FILE: USES, HELPER: "{% macro head() %}head{% endmacro %}\n", "default.text.j2": "d"}


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """A console, somebody who has signed in, and a folder of templates of its own."""
    folder = tmp_path / "templates"
    folder.mkdir()
    for name, source in FILES.items():
        (folder / name).write_text(source)
    (tmp_path / "routes.toml").write_text('[[route]]\ntype = "a*"\ntemplate = "short"\n')
    made = serve(
        tmp_path, BRIDGE_TEMPLATES=str(folder), BRIDGE_ROUTES=str(tmp_path / "routes.toml")
    )
    made.sign_in()
    yield made
    made.bridge.close()
    assert {path.name: path.read_text() for path in folder.iterdir()} == FILES


def save(console: Console, source: str, file: str = FILE, **more: str) -> TestResponse:
    return console.post(f"/templates/{file}/save", "/bots", source=source, **more)


def restore(console: Console, file: str = FILE, **more: str) -> TestResponse:
    return console.post(f"/templates/{file}/restore", "/bots", **more)


def new(console: Console, name: str, **more: str) -> TestResponse:
    return console.post("/templates/new", "/bots", name=name, **more)


def message(console: Console, kind: str = "crashlog", template: str = "") -> str:
    event = Event(kind, {"type": kind, "title": "商城"}, 0.0)
    target = Target("default", template=template)
    content: str = console.bridge.renderer.messages(event, target)[0].body["content"]
    return content


def seen_of(page: str) -> str:
    return re.search(r'name="seen" value="(\w+)"', page)[1]  # type: ignore[index]


def alert(answer: TestResponse) -> str:
    assert answer.status_code == 422
    found = re.search(r'role="alert">(.*?)</(?:div|p)>', answer.text, re.DOTALL)
    assert found
    return " ".join(unescape(re.sub("<[^>]*>", " ", found[1])).split())


def versions(console: Console, file: str = FILE) -> list[str]:
    """Return the lines of the page's list of versions, without times."""
    found = re.search(r'<ol class="versions">(.*?)</ol>', console.page(f"/templates/{file}"), re.S)
    assert found
    rows = re.findall(r"<li>(.*?)</li>", found[1], re.DOTALL)
    times = re.compile(r"<time.*?</time>|<input[^>]*>|<[^>]*>", re.DOTALL)
    return [" ".join(unescape(times.sub(" ", row)).split()) for row in rows]


def test_a_saved_text_is_used_for_the_next_message(console: Console) -> None:
    assert message(console) == "head 商城"
    answer = save(console, "mine {{ title }} {{ link }}\r\n")
    assert (answer.status_code, path_of(answer)) == (303, f"/console/templates/{FILE}")
    assert f"{FILE} is saved. It is used from the next message on." in flashed(console, answer)
    assert message(console) == "mine 商城"
    assert ">\nmine {{ title }} {{ link }}\n</textarea>" in console.page(f"/templates/{FILE}")
    assert console.bridge.template_versions.texts() == {FILE: "mine {{ title }} {{ link }}\n"}


def test_a_saved_text_outlives_the_process(console: Console, tmp_path: Path) -> None:
    save(console, "mine {{ title }}")
    later = serve(tmp_path, BRIDGE_TEMPLATES=str(tmp_path / "templates"))
    assert message(later) == "mine 商城"
    later.bridge.close()


@pytest.mark.parametrize(
    ("source", "said"),
    [("one\n{% if %}", "line 2 a variable or a text is missing"),
     ("{{ 1 / 0 }}", "line 1 it fails: ZeroDivisionError"),
     ("x" * (MAX_SOURCE + 1), "A template has at most 65536 bytes"), ("a\0b", "NUL")],
)  # fmt: skip
def test_an_unsound_text_is_not_saved_and_stays_on_the_page(
    console: Console, source: str, said: str
) -> None:
    answer = save(console, source, event="feedback")
    assert said in alert(answer)
    assert f">\n{source}</textarea>" in unescape(answer.text)
    assert f'data-current="{USES}"' in unescape(answer.text)
    assert '<option value="feedback" selected>' in answer.text
    assert console.bridge.template_versions.of(FILE) == []
    assert message(console) == "head 商城"


def test_a_text_is_not_lost_with_the_event_that_it_was_previewed_with(console: Console) -> None:
    answer = save(console, "{{ broken", event="crashlog", id="4711")
    assert ">\n{{ broken</textarea>" in answer.text
    assert answer.status_code == 422


def test_what_a_text_was_previewed_with_is_still_on_the_page_after_it_was_saved(
    console: Console,
) -> None:
    number = str(console.event({"type": "crashlog", "title": "Stored"}))
    pasted = '{"title": "Pasted"}'
    used = seen_of(console.page(f"/templates/{FILE}"))
    for n, more in enumerate(({"event": "pasted"}, {"event": number}, {"event": "crashlog"})):
        page = save(console, f"{n} {{{{ title }}}}", payload=pasted, seen=used, **more)
        assert f"{FILE} is saved." in page.text and pasted in unescape(page.text)
        assert f'<option value="{more["event"]}" selected>' in page.text
        used = seen_of(page.text)  # of the text that is in use now
    page = save(console, "no more {{ title }}", event=number, seen=used)
    assert "no more Stored" in page.text


def test_warnings_do_not_hinder(console: Console) -> None:
    assert save(console, "- a list {{ titel }}").status_code == 303
    assert message(console) == "- a list"


def test_a_helper_that_would_break_others_is_refused(console: Console) -> None:
    answer = save(console, "{% macro tail() %}{% endmacro %}", HELPER)
    assert f"{FILE}:1: " in alert(answer)
    assert save(console, "{% macro head() %}new{% endmacro %}", HELPER).status_code == 303
    assert message(console) == "new 商城"


def test_a_save_needs_the_form_s_token_and_a_session(console: Console) -> None:
    data = {"source": "mine"}
    for action in ("save", "restore"):
        answer = console.client.post(f"/console/templates/{FILE}/{action}", data=data)
        assert answer.status_code == 400
    assert console.client.post("/console/templates/new", data=data).status_code == 400
    stranger = console.app.test_client()
    answer = stranger.post(f"/console/templates/{FILE}/save", data=data)
    assert (answer.status_code, path_of(answer)) == (303, "/console/sign-in")
    assert message(console) == "head 商城"


def test_the_same_text_is_no_new_version(console: Console) -> None:
    assert "in use already" in flashed(console, save(console, USES))
    assert versions(console)[0].endswith("in use")
    save(console, "mine {{ title }}")
    assert "in use already" in flashed(console, save(console, "mine {{ title }}"))
    assert len(versions(console)) == 2


def test_the_file_s_own_text_can_be_put_back(console: Console) -> None:
    save(console, "mine {{ title }}")
    answer = restore(console)
    assert path_of(answer) == f"/console/templates/{FILE}"
    assert "The file's own text is used again" in flashed(console, answer)
    assert message(console) == "head 商城"
    assert "edited here" not in console.page("/templates")


def test_the_versions_show_which_is_used_and_how_it_differs(console: Console) -> None:
    file = f"The file {console.bridge.settings.templates}/{FILE}"
    assert versions(console) == [f"{file} in use"]
    save(console, USES + "one")
    save(console, "two {{ title }}\n")
    newest, first, folder = versions(console)
    assert newest.startswith("in use Difference to the file @@ -1 +1 @@ -{% import '_shared.j2'")
    assert newest.endswith("+two {{ title }}")
    assert first.startswith("Back to this version Difference to the file @@ -1 +1,2 @@ {% import")
    assert first.endswith("{{ link }} +one")
    assert folder == f"{file} Back to the file's text"
    restore(console)
    put_back, *others = versions(console)
    assert put_back == "The file's own text was put back."
    assert others[0].startswith("Back to this version")
    assert others[2] == f"{file} in use"
    page = console.page(f"/templates/{FILE}")
    assert '<span class="added">+two {{ title }}</span>' in page
    assert '<span class="removed">-{% import' in page


def test_a_version_like_the_file_says_so(console: Console) -> None:
    save(console, "other {{ title }}")
    save(console, USES)
    assert versions(console)[0] == "in use The same as the file."


def test_back_to_a_former_version(console: Console) -> None:
    save(console, "one {{ title }}")
    save(console, "two {{ title }}")
    _, first = console.bridge.template_versions.of(FILE)
    answer = restore(console, version=str(first.id))
    assert "former version is used again" in flashed(console, answer)
    assert message(console) == "one 商城"
    assert [v.source for v in console.bridge.template_versions.of(FILE)] == [
        "one {{ title }}", "two {{ title }}", "one {{ title }}",
    ]  # fmt: skip
    restore(console)
    put_back = console.bridge.template_versions.of(FILE)[0]
    save(console, "three {{ title }}")
    restore(console, version=str(put_back.id))
    assert message(console) == "head 商城"


def test_a_former_version_that_is_not_sound_any_more_is_shown_but_not_used(
    console: Console,
) -> None:
    save(console, "{% macro head() %}x{% endmacro %}{% macro more() %}m{% endmacro %}", HELPER)
    save(console, USES.replace("head", "more"))
    save(console, "two {{ title }}")
    restore(console, HELPER)
    former = console.bridge.template_versions.of(FILE)[1]
    answer = restore(console, version=str(former.id))
    assert "line 1 there is no more" in alert(answer)
    assert "s.more()" in answer.text
    assert message(console) == "two 商城"


def test_what_is_not_there_cannot_be_put_back(console: Console) -> None:
    save(console, "mine {{ title }}")
    for file, version in ((FILE, "99"), (FILE, "x"), ("none.text.j2", ""), (HELPER, "1")):
        assert restore(console, file, version=version).status_code == 404
    for file in ("none.j2", "Feedback.text.j2", "a%20b.text.j2"):
        assert save(console, "x", file).status_code == 404
    assert message(console) == "mine 商城"


def test_a_new_template_begins_as_what_fits_best(console: Console) -> None:
    answer = new(console, "crashlog.text.j2")
    assert path_of(answer) == "/console/templates/crashlog.text.j2"
    assert "crashlog.text.j2 was created" in flashed(console, answer)
    page = console.page("/templates/crashlog.text.j2")
    assert "[崩溃日志]" in page and "only here" in page
    assert "[崩溃日志] 商城" in message(console)


def test_a_name_without_its_end_is_completed(console: Console) -> None:
    answer = new(console, " short.text ")
    assert path_of(answer) == "/console/templates/short.text.j2"
    assert 'template = "short.text"' in flashed(console, answer)
    save(console, "short {{ title }}", "short.text.j2")
    assert message(console, template="short") == "short 商城"
    rows = re.findall(r"<li>.*?</li>", console.page("/templates"), re.DOTALL)
    [row] = [row for row in rows if "short.text.j2" in row]
    assert "route rule 1" in row and "only here" in row


def test_a_new_template_may_be_a_copy(console: Console) -> None:
    new(console, "feedback.markdown.j2", start=FILE)
    assert console.bridge.renderer.files["feedback.markdown.j2"] == USES
    new(console, "feedback.news.j2", start="examples/updateVersion.news.j2")
    assert '"articles"' in console.bridge.renderer.files["feedback.news.j2"]


def test_a_new_helper_is_nearly_empty(console: Console) -> None:
    new(console, "_own.j2")
    assert console.bridge.renderer.files["_own.j2"].startswith("{# ")
    assert "only here" in console.page("/templates/_own.j2")


@pytest.mark.parametrize(
    ("name", "said"),
    [("Crashlog.text.j2", "rename it to crashlog.text.j2"),
     ("crashlog.Text.j2", "rename it to crashlog.text.j2"), (FILE, "already"),
     ("x.html", "msgtype"), ("../x.text.j2", "is no name"), ("", "is no name")],
)  # fmt: skip
def test_a_wrong_name_is_explained_and_stays_in_its_field(
    console: Console, name: str, said: str
) -> None:
    answer = new(console, name)
    assert said in alert(answer)
    assert f'name="name" value="{name}"' in answer.text
    assert console.bridge.template_versions.texts() == {}


def test_a_copy_that_would_not_be_sound_is_refused(console: Console) -> None:
    answer = new(console, "feedback.news.j2", start=FILE)
    assert "it does not make JSON" in alert(answer)
    assert "feedback.news.j2" not in console.bridge.renderer.files


def test_a_template_that_exists_only_here_is_removed(console: Console) -> None:
    new(console, "crashlog.text.j2")
    answer = restore(console, "crashlog.text.j2")
    assert path_of(answer) == "/console/templates"
    assert "crashlog.text.j2 is removed" in flashed(console, answer)
    assert console.get("/templates/crashlog.text.j2").status_code == 404
    assert message(console) == "head 商城"
    new(console, "crashlog.text.j2")
    assert "The template was removed." in versions(console, "crashlog.text.j2")


def test_what_another_file_needs_is_not_removed_or_put_back(console: Console) -> None:
    new(console, "_more.j2")
    save(console, "{% macro tail() %}tail{% endmacro %}", "_more.j2")
    uses = "{% import '_more.j2' as o %}{% import '_shared.j2' as s %}{{ s.foot() }} {{ o.tail() }}"
    save(console, "{% macro head() %}{% endmacro %}{% macro foot() %}foot{% endmacro %}", HELPER)
    assert save(console, uses).status_code == 303
    for file in ("_more.j2", HELPER):
        answer = restore(console, file)
        assert f"Nothing was changed: {FILE}:1: " in alert(answer)
        assert f">\n{console.bridge.renderer.files[file]}</textarea>" in unescape(answer.text)
    assert message(console) == "foot tail"
    restore(console)
    assert restore(console, "_more.j2").status_code == restore(console, HELPER).status_code == 303
    assert message(console) == "head 商城"


def test_a_text_that_somebody_else_saved_meanwhile_is_not_replaced_without_a_word(
    console: Console,
) -> None:
    opened = seen_of(console.page(f"/templates/{FILE}"))
    assert save(console, "theirs {{ title }}", seen=opened).status_code == 303
    looked = console.post(f"/templates/{FILE}/preview", "/bots", source="mine", seen=opened)
    assert seen_of(looked.text) == opened
    assert "changed after" in alert(save(console, "{{ broken", seen=opened))
    answer = save(console, "mine {{ title }}", seen=opened)
    assert "changed after this page was opened: see the list “Versions” below" in alert(answer)
    assert ">\nmine {{ title }}</textarea>" in answer.text
    assert message(console) == "theirs 商城"
    assert save(console, "mine {{ title }}", seen=seen_of(answer.text)).status_code == 303
    assert message(console) == "mine 商城"
    assert save(console, "mine {{ title }}", seen=opened).status_code == 303  # it is so already


def test_a_text_for_a_name_that_is_gone_is_saved_as_a_new_one(console: Console) -> None:
    """Somebody removed it while somebody else had its page open."""
    assert save(console, "mine {{ title }}", "crashlog.text.j2").status_code == 303
    assert message(console) == "mine 商城"


def test_overview_and_list_say_what_is_edited_here(console: Console) -> None:
    assert "Templates edited in the console" not in console.page("/")
    save(console, "mine {{ title }}")
    new(console, "short.text.j2")
    page = console.page("/")
    assert "Templates edited in the console" in page
    assert f'/console/templates/{FILE}">{FILE}</a>' in page and "short.text.j2</a>" in page
    rows = re.findall(r"<li>.*?</li>", console.page("/templates"), re.DOTALL)
    said = {re.search("j2/?.*?>([^<]+)<", row)[1]: row for row in rows}  # type: ignore[index]
    assert "edited here" in said[FILE] and "only here" in said["short.text.j2"]
    assert "here" not in said["default.text.j2"]
    assert "edited here" in console.page(f"/templates/{FILE}")


def test_hostile_text_stays_text_in_differences(console: Console) -> None:
    save(console, "<script>alert(1)</script>{{ title }}")
    page = console.page(f"/templates/{FILE}")
    assert "<script>alert" not in page and "+&lt;script&gt;alert(1)" in page


def test_a_long_text_is_compared_in_time(console: Console) -> None:
    for n in range(3):
        lines = "".join(f"{{# {n} {m % 97} #}}\n" for m in range(4000))
        assert save(console, lines + "{{ title }}").status_code == 303
    began = time.process_time()
    assert console.get(f"/templates/{FILE}").status_code == 200
    assert time.process_time() - began < 2  # generous: it takes a tenth of that
