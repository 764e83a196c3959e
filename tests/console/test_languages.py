"""The console in Chinese and English."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
from console_client import Console, serve, settle
from support import ROOT, TOKEN, environment

from bridge import create_app
from bridge.model import Verdict
from bridge.wording import language

FILE = "crashlog.markdown.j2"


def test_the_browser_chooses_the_language_and_the_switch_overrules_it(console: Console) -> None:
    for accepted, shown in {
        "": "概览", "zh-CN,zh;q=0.9": "概览", "zh-TW": "概览", "en-US,en;q=0.9": "Overview",
        "fr": "概览", "fr,en;q=0.5": "Overview",
    }.items():  # fmt: skip
        page = console.page("/", accepted)
        assert f">{shown}</a>" in page
        assert (f'<html lang="{"zh-CN" if shown == "概览" else "en"}">') in page
    answer = console.post("/language", "/bots", language="en", next="/console/bots")
    assert answer.headers["Location"] == "/console/bots"
    assert ">Overview</a>" in console.page("/", "zh-CN")
    console.post("/language", "/bots", language="xx")
    assert ">Overview</a>" in console.page("/", "zh-CN")
    console.post("/language", "/bots", language="zh")
    assert ">概览</a>" in console.page("/", "en")


@pytest.mark.parametrize(
    ("path", "form", "status", "back"),
    [(f"/templates/{FILE}/save", {"source": "{{"}, 422, f"/templates/{FILE}"),
     (f"/templates/{FILE}/preview", {"source": "x"}, 200, f"/templates/{FILE}"),
     ("/templates/new", {"name": "?"}, 422, "/templates"),
     ("/routes", {"body": "x"}, 200, "/routes"),
     ("/bots/none/test", {}, 404, "/"), ("/templates/preview", {"file": "none"}, 404, "/")],
)  # fmt: skip
def test_the_switch_on_a_page_that_a_post_has_made_leads_to_one_that_opens(
    console: Console, path: str, form: dict[str, str], status: int, back: str
) -> None:
    answer = console.post(path, "/bots", **form)
    assert answer.status_code == status
    found = re.search(r'name="next" value="([^"]*)"', answer.text)
    assert found and found[1] == f"/console{back}"
    assert console.post("/language", "/bots", language="zh", next=found[1]).location == found[1]
    assert console.client.get(found[1]).status_code == 200


def test_the_language_can_be_chosen_before_signing_in(tmp_path: Path) -> None:
    console = serve(tmp_path)
    console.post("/language", language="en", next="/console/sign-in")
    assert "<h1>Sign in</h1>" in console.page("/sign-in", "zh")
    console.sign_in()
    assert ">Overview</a>" in console.page("/", "zh")
    console.bridge.close()


def test_the_language_ends_with_its_request(console: Console) -> None:
    """The thread serves others next, who may have another language or none."""
    assert "Overview" in console.page("/", "en")
    assert language.get() == ""


def test_the_catalog_is_in_step_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("catalog", ROOT / ".ci/translations.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["translations.py", "--check"])
    module.main()


def test_no_english_is_left_in_the_chinese_pages(console: Console) -> None:
    console.event({"type": "crashlog", "title": "应用"})
    settle(console, Verdict.RETRY, "connection")
    for path in (
        "/",
        "/events",
        "/events/1",
        "/bots",
        "/routes?event=2",
        "/templates",
        f"/templates/{FILE}",
    ):
        page = re.sub(
            r"<(textarea|pre|code|dl)\b.*?</\1>", "", console.page(path, "zh"), flags=re.DOTALL
        )
        said = re.sub(r"<[^>]*>", " ", page)
        assert not re.search(r"\b(the|is|of|and|with|no|it)\b", said), path


@pytest.mark.parametrize("path", ["/", f"/pgyer/{TOKEN}", f"/pgyer/{TOKEN}/dev"])
def test_the_pages_without_a_password_speak_the_browser_s_language(
    path: str, tmp_path: Path
) -> None:
    client = create_app(environment(tmp_path)).test_client()
    said = {}
    for accepted in ("", "zh-CN,zh;q=0.9", "en-US,en;q=0.9", "fr"):
        answer = client.get(path, headers={"Accept-Language": accepted} if accepted else {})
        assert answer.status_code == 200
        said[accepted] = answer.text
    assert said[""] == said["zh-CN,zh;q=0.9"] == said["fr"] != said["en-US,en;q=0.9"]
    zh, en = said[""], said["en-US,en;q=0.9"].replace("其他指定URL", "")
    assert re.search("[一-鿿]", zh) and not re.search(r"\b(the|is|it|this)\b", zh)
    assert not re.search("[一-鿿]", en)
    assert language.get() == ""


def test_the_bare_address_says_how_to_open_the_console(tmp_path: Path) -> None:
    client = create_app(environment(tmp_path)).test_client()
    assert client.get("/").text.endswith("控制台：设置 BRIDGE_ADMIN_PASSWORD 后可用\n")
    console = serve(tmp_path)
    assert console.client.get("/").text.endswith("控制台：/console/\n")
    console.bridge.close()


def test_a_broken_template_is_said_in_the_language_and_in_readyz_in_english(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "crashlog.markdown.j2").write_text("{% if title %}")
    console = serve(tmp_path, BRIDGE_TEMPLATES=str(tmp_path / "mine"))
    console.sign_in()
    for path in ("/", "/templates", f"/templates/{FILE}"):
        assert "补上 {% endif %}" in console.page(path, "zh")
        assert "write {% endif %}" in console.page(path, "en")
    [problem] = console.client.get("/readyz").json["problems"]  # type: ignore[index]
    assert problem.startswith("template crashlog.markdown.j2:1: {% if %} is open")
    console.bridge.close()


def test_why_a_body_could_not_be_decoded_is_said_in_the_language(console: Console) -> None:
    number = console.event("<xml>")
    for accepted, why in (("zh", "既不是 JSON 也不是表单"), ("en", "neither JSON nor a form")):
        assert why in console.page(f"/events/{number}", accepted)
        assert why in console.page("/events", accepted)
