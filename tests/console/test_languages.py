"""The console in Chinese and English."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
from console_client import Console, serve
from support import ROOT

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
