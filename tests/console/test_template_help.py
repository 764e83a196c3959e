"""What the template page offers: variables, filters, texts to begin with, pasted JSON, digests."""

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from console_client import Console, serve
from support import ROOT
from werkzeug.test import TestResponse

from bridge.console.template_help import best_start, difference

FILE = "crashlog.markdown.j2"


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """A console, somebody who has signed in, and a folder of templates of its own."""
    folder = tmp_path / "templates"
    folder.mkdir()
    for name, source in {
        FILE: "{{ title }} {{ notes }} {{ link }}",
        "crashlog.text.j2": "{{ title }}",
        "botStopped.markdown.j2": "{{ payload.bot }}",
        "digest.markdown.j2": "{{ total }}\n{% for g in groups %}{{ g.title }}\n{% endfor %}",
    }.items():
        (folder / name).write_text(source)
    made = serve(tmp_path, BRIDGE_TEMPLATES=str(folder))
    made.sign_in()
    yield made
    made.bridge.close()


def preview(console: Console, source: str = "{{ title }}", file: str = FILE, **form: str) -> str:
    data = {"source": source, "file": file, "event": "crashlog", **form}
    answer: TestResponse = console.post("/templates/preview", "/bots", **data)
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


def offered(page: str, part: str = "variables") -> dict[str, str]:
    """Return what a click inserts, with the text beside it."""
    found = re.search(rf'<details class="help" id="{part}">.*?</details>', page, re.DOTALL)
    assert found
    pairs = re.findall(r'data-text="(.*?)" disabled>.*?<dd>(.*?)</dd>', found[0], re.DOTALL)
    return {
        unescape(code): " ".join(re.sub("<[^>]*>", " ", gives).split()) for code, gives in pairs
    }


def test_the_variables_have_their_values_in_the_chosen_event(console: Console) -> None:
    body = {"type": "crashlog", "title": "商城", "notes": "a\n" * 99, "own": {"a": 1}, "o-k": "x"}
    number = console.event(body)
    shown = offered(preview(console, event=str(number)))
    assert shown["{{ title }}"] == "商城 the app"
    assert shown["{{ os_version }}"] == "empty version"
    assert shown["{{ notes }}"].startswith("a a a a") and len(shown["{{ notes }}"]) < 130
    assert shown["{{ payload.own }}"] == '{"a": 1}'
    assert shown["{{ payload['o-k'] }}"] == "x"
    assert shown["{{ event.id }}"].startswith(f"{number} ")
    assert "{{ mention }}" in shown
    names = list(shown)
    assert names.index("{{ title }}") < names.index("{{ os_version }}")  # with a value first
    assert offered(unescape(console.page(f"/templates/{FILE}?id={number}"))) == shown


def test_every_variable_that_is_offered_can_be_printed(console: Console) -> None:
    number = console.event({"type": "crashlog", "o-k": "odd", "it\"s '": "x", "notes": "n"})
    for file, event in ((FILE, str(number)), ("botStopped.markdown.j2", "botStopped")):
        codes = list(offered(preview(console, file=file, event=event)))
        page = preview(console, "x\n" + "\n".join(codes), file, event=event)
        assert 'class="error"' not in page and "is no variable" not in page, page
    codes = list(offered(preview(console, file="digest.markdown.j2")))
    assert {"{{ total }}", "{{ group.title }}", "{{ group.count }}"} <= set(codes)
    loop = "{% for group in groups %}\n" + "\n".join(codes) + "{% endfor %}"
    assert 'class="error"' not in preview(console, loop, "digest.markdown.j2")


@pytest.mark.parametrize(
    ("file", "has", "lacks"),
    [(FILE, ["|quote", "|color('info')", "|link(link)", "|filesize"], ["{% for group"]),
     ("crashlog.text.j2", ["|link(link)", "|filesize"], ["|color", "|quote"]),
     ("digest.markdown.j2", ["{% for group in groups %}", "|color('info')"], ["appsize"])],
)  # fmt: skip
def test_only_what_the_msgtype_shows_is_offered(
    console: Console, file: str, has: list[str], lacks: list[str]
) -> None:
    page = console.page(f"/templates/{file}")
    codes = "\n".join(offered(page, "filters"))
    assert all(code in codes for code in has)
    assert not any(code in codes for code in lacks)
    if file.startswith("digest."):
        codes = f"{{% for group in groups %}}{codes}{{% endfor %}}"  # where they belong
    assert 'class="error"' not in preview(console, codes, file)


def test_examples_of_the_msgtype_can_be_begun_with(console: Console) -> None:
    page = console.page("/templates/crashlog.text.j2")
    assert "start=examples/crashlog.text.j2" in page
    assert "updateVersion.news.j2" not in page
    example = (ROOT / "templates/examples/crashlog.text.j2").read_text()
    page = unescape(console.page("/templates/crashlog.text.j2?start=examples/crashlog.text.j2"))
    assert f">\n{example}</textarea>" in page
    assert 'data-current="{{ title }}"' in page
    assert ">\n{{ title }}</textarea>" in unescape(
        console.page("/templates/crashlog.text.j2?start=../../routes.toml")
    )


def test_the_best_start_is_of_the_same_msgtype_and_the_likest_name() -> None:
    texts = {
        "examples/crashlog.text.j2": "example", "default.markdown.j2": "default",
        "crashlog.markdown.j2": "crash", "updateVersion.markdown.j2": "update",
    }  # fmt: skip
    assert best_start("crashlog.text.j2", texts) == "example"
    assert best_start("crashlog-short.markdown.j2", texts) == "crash"
    assert best_start("own.markdown.j2", texts) == "default"
    assert best_start("own.news.j2", texts) == ""
    assert "import '_own.j2'" in best_start("_own.j2", texts)


def test_pasted_json_is_decoded_like_a_body(console: Console) -> None:
    body = "{'type': 'updateVersion', title: '粘贴的', \"buildPassword\": 'secret',}"
    page = preview(console, event="pasted", payload=body)
    assert "粘贴的</div>" in page and "secret" not in page
    assert offered(page)["{{ payload.buildPassword }}"] == "***"
    assert offered(page)["{{ title }}"] == "粘贴的 the app"
    assert offered(page)["{{ event.type }}"].startswith("updateVersion ")


@pytest.mark.parametrize("body", ["", "  ", "\ufeff", "no json", "[]", "{" * 5000, "a" * 70_000])
def test_pasted_text_without_an_event_says_so(console: Console, body: str) -> None:
    page = preview(console, event="pasted", payload=body)
    assert "the pasted JSON cannot be decoded: " in page
    assert "There is no message to show" in page


def test_the_last_choice_counts(console: Console) -> None:
    """The button beside the JSON is one more `event` in the form, behind that of the list."""
    data = {"csrf_token": console.token("/bots"), "source": "{{ title }}",
            "event": ["crashlog", "pasted"], "payload": '{"title": "粘贴的"}'}  # fmt: skip
    answer = console.client.post(f"/console/templates/{FILE}/preview", data=data)
    assert answer.status_code == 200
    assert '<option value="pasted" selected>' in answer.text
    assert "粘贴的</div>" in answer.text
    assert ">\n{&#34;title&#34;: &#34;粘贴的&#34;}</textarea>" in answer.text


def test_a_preview_without_javascript_keeps_what_was_typed(console: Console) -> None:
    answer = console.post(
        f"/templates/{FILE}/preview", "/bots", source="typed {{ title }}", event="feedback"
    )
    assert ">\ntyped {{ title }}</textarea>" in answer.text
    assert '<option value="feedback" selected>' in answer.text
    for path in ("/templates/none.j2/preview", "/templates/none.text.j2/preview"):
        assert console.post(path, "/bots", source="x").status_code == 404


def test_a_digest_is_previewed_with_many_items(console: Console) -> None:
    file = "digest.markdown.j2"
    source = "{{ total }}{% for group in groups %}\n{{ group.title }} {{ group.type }}{% endfor %}"
    total = int(re.findall(r'markdown"><div>(\d+)', preview(console, source, file))[0])
    assert total >= 20
    console.event({"type": "feedback", "title": "Stored"})
    page = preview(console, source, file)
    assert f'markdown"><div>{total + 1}' in page
    for title in ("Stored feedback", "crashlog", "updateVersion", "deleteApp"):
        assert title in page
    events = json.dumps([{"title": f"Pasted {n}", "type": "feedback"} for n in range(3)])
    page = preview(console, source, file, event="pasted", payload=events)
    assert all(f"Pasted {n} feedback" in page for n in range(3))


def test_a_digest_that_does_not_fit_says_so(console: Console) -> None:
    source = "{% for group in groups %}{{ group.title }} " + "字" * 400 + "\n{% endfor %}"
    page = preview(console, source, "digest.markdown.j2")
    assert "not all fit: the rest is in the next digest" in page


def test_a_difference_is_by_lines() -> None:
    assert difference("a\nb\n", "a\nc\n") == [
        ("place", "@@ -1,2 +1,2 @@"), ("", " a"), ("removed", "-b"), ("added", "+c"),
    ]  # fmt: skip
    assert difference("", "a") == [("place", "@@ -0,0 +1 @@"), ("added", "+a")]
    assert difference("a", None) == difference("a", "a") == []
