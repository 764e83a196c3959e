"""Saved texts beside the files of a folder: which wins, and what happens to a broken one."""

import logging
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from rendering import rendered

from bridge.messages.renderer import Renderer
from bridge.model import Delivery, Event, Target

UTC = ZoneInfo("UTC")
FILE = "crashlog.text.j2"
EVENT = Event("crashlog", {"type": "crashlog", "title": "商城"}, 0.0)


@pytest.fixture
def saved() -> dict[str, str]:
    """What is saved; a test changes it, as another process might do."""
    return {}


@pytest.fixture
def renderer(tmp_path: Path, saved: dict[str, str]) -> Renderer:
    (tmp_path / FILE).write_text("file {{ title }}")
    return Renderer(tmp_path, UTC, saved=lambda: dict(saved))


def text(renderer: Renderer, template: str = "") -> str:
    return rendered(renderer, EVENT, Target("default", template=template))


def test_a_saved_text_wins_from_the_next_message_on(
    renderer: Renderer, saved: dict[str, str]
) -> None:
    assert text(renderer) == "file 商城"
    saved[FILE] = "saved {{ title }}"
    assert text(renderer) == "saved 商城"
    assert renderer.files == {FILE: "saved {{ title }}"}
    assert renderer.folder_files == {FILE: "file {{ title }}"}
    saved[FILE] = "again {{ title }}"
    assert text(renderer) == "again 商城"
    del saved[FILE]
    assert text(renderer) == "file 商城"


def test_a_saved_text_needs_no_file(renderer: Renderer, saved: dict[str, str]) -> None:
    assert not renderer.knows("short")
    saved["short.text.j2"] = "{% import '_m.j2' as m %}{{ m.a() }} {{ title }}"
    saved["_m.j2"] = "{% macro a() %}helped{% endmacro %}"
    assert renderer.knows("short")
    assert text(renderer, "short") == "helped 商城"
    assert renderer.file_for(EVENT, "short") == "short.text.j2"
    del saved["short.text.j2"]
    assert text(renderer, "short") == "file 商城"


def test_a_digest_may_be_saved_as_well(renderer: Renderer, saved: dict[str, str]) -> None:
    saved["digest.text.j2"] = "mine {{ total }}"
    deliveries = [Delivery(n, EVENT, Target("default")) for n in range(3)]
    assert renderer.digest(deliveries)[0].body["content"] == "mine 3"


def test_a_file_that_changes_under_a_saved_text_does_nothing_until_it_is_put_back(
    renderer: Renderer, saved: dict[str, str], tmp_path: Path
) -> None:
    saved[FILE] = "saved"
    assert text(renderer) == "saved"
    (tmp_path / FILE).write_text("a new file")
    assert text(renderer) == "saved"
    saved.clear()
    assert text(renderer) == "a new file"


def test_a_broken_saved_text_gives_way_to_its_last_good_version(
    renderer: Renderer, saved: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """It was sound when it was saved, but something that it uses may have changed since."""
    saved[FILE] = "good"
    assert text(renderer) == "good"
    saved[FILE] = "{{ broken"
    with caplog.at_level(logging.ERROR):
        assert text(renderer) == "good"
    assert FILE in caplog.text
    assert [problem.split(":")[:2] for problem in renderer.problems] == [[FILE, "1"]]
    del saved[FILE]
    assert (text(renderer), renderer.problems) == ("file 商城", [])


def test_a_saved_text_that_is_broken_from_the_start_gives_way_to_the_file(
    renderer: Renderer, saved: dict[str, str]
) -> None:
    saved[FILE] = "{{ 1 / 0 }}"
    assert text(renderer) == "file 商城"


def test_a_broken_file_under_a_sound_saved_text_is_no_problem(
    renderer: Renderer, saved: dict[str, str], tmp_path: Path
) -> None:
    saved[FILE] = "saved"
    (tmp_path / FILE).write_bytes(b"\xff\xfe\x00")
    assert (text(renderer), renderer.problems) == ("saved", [])
    saved.clear()
    assert len(renderer.problems) == 1


def test_nothing_is_written_to_the_folder(
    renderer: Renderer, saved: dict[str, str], tmp_path: Path
) -> None:
    saved["new.text.j2"] = "x"
    text(renderer, "new")
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).read_text() == "file {{ title }}"
