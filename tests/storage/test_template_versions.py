"""Templates that were saved in the console, on both databases."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Clock, until

from bridge.errors import StorageError
from bridge.storage import template_versions
from bridge.storage.database import Database
from bridge.storage.driver import SQL, Connection
from bridge.storage.template_versions import KEPT, TemplateVersions

FILE = "crashlog.markdown.j2"


@pytest.fixture
def process(database_url: str, clock: Clock) -> Callable[[], TemplateVersions]:
    """Make what a process has of the saved templates; all share one database."""
    return lambda: TemplateVersions(Database(database_url), clock)


@pytest.fixture
def versions(process: Callable[[], TemplateVersions]) -> TemplateVersions:
    return process()


def test_the_newest_text_of_a_file_is_used_until_the_folder_s_is_put_back(
    versions: TemplateVersions,
) -> None:
    assert versions.texts() == {}
    versions.save({FILE: "one", "other.text.j2": "字 %s :x"})
    versions.save({FILE: "two"})
    assert versions.texts() == {FILE: "two", "other.text.j2": "字 %s :x"}
    versions.save({FILE: None})
    assert versions.texts() == {"other.text.j2": "字 %s :x"}
    versions.save({FILE: ""})
    assert versions.texts()[FILE] == ""


def test_every_version_stays_with_its_time(versions: TemplateVersions, clock: Clock) -> None:
    began = clock()
    versions.save({FILE: "one"})
    clock.advance(60)
    versions.save({FILE: None})
    clock.advance(60)
    versions.save({FILE: "two", "other.text.j2": "x"})
    found = versions.of(FILE)
    assert [(v.source, v.saved_at - began) for v in found] == [("two", 120), (None, 60), ("one", 0)]
    assert found == sorted(found, key=lambda version: -version.id)
    assert versions.of("none.text.j2") == []


def test_only_so_many_versions_of_a_file_are_kept(versions: TemplateVersions) -> None:
    versions.save({"other.text.j2": "x"})
    for n in range(KEPT + 3):
        versions.save({FILE: str(n)})
    found = [version.source for version in versions.of(FILE)]
    assert found == [str(n) for n in reversed(range(3, KEPT + 3))]
    assert versions.texts() == {FILE: str(KEPT + 2), "other.text.j2": "x"}


def test_what_one_process_saves_another_uses_at_once(
    process: Callable[[], TemplateVersions],
) -> None:
    one, two = process(), process()
    assert two.texts() == {}
    one.save({FILE: "one"})
    assert two.texts() == {FILE: "one"}
    two.save({FILE: None})
    assert one.texts() == {}


def test_the_texts_are_loaded_again_only_after_a_change(versions: TemplateVersions) -> None:
    versions.save({FILE: "one"})
    before = versions.texts()
    assert versions.texts() is before
    versions.save({FILE: "one"})
    assert versions.texts() is not before


def test_a_database_that_does_not_answer_leaves_the_last_known_texts(
    versions: TemplateVersions, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions.save({FILE: "one"})
    versions.texts()
    asked = 0

    def read(*args: object) -> None:
        nonlocal asked
        asked += 1
        raise StorageError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "read", read)
        assert [versions.texts() for _ in range(3)] == 3 * [{FILE: "one"}]
        assert asked == 1  # each of the three would have waited
    versions.save({FILE: "two"})
    assert versions.texts() == {FILE: "two"}


def test_a_database_that_answers_again_is_asked_again(
    process: Callable[[], TemplateVersions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_versions, "PAUSE", 0.0)
    one, two = process(), process()
    with monkeypatch.context() as patch:
        patch.setattr(Database, "read", lambda *args: (_ for _ in ()).throw(StorageError("gone")))
        assert two.texts() == {}
    one.save({FILE: "one"})
    assert two.texts() == {FILE: "one"}


def test_a_save_that_commits_late_is_not_missed(postgres_url: str, clock: Clock) -> None:
    """Its id is smaller than that of a later save, and by the largest one readers see a change."""
    late, database = Connection(postgres_url), Database(postgres_url)
    versions = TemplateVersions(database, clock)
    blocked = "SELECT 1 FROM pg_locks WHERE NOT granted AND database = ("
    blocked += "SELECT oid FROM pg_database WHERE datname = current_database())"
    late.begin()
    late.execute(SQL["add_template_version"], {"file": FILE, "source": "late", "now": clock()})
    thread = threading.Thread(target=versions.save, args=({"other.text.j2": "x"},))
    thread.start()
    until(lambda: bool(late.execute(blocked)) or not thread.is_alive(), "the save waits")
    reader = TemplateVersions(database, clock)
    reader.texts()
    late.commit()
    thread.join()
    assert reader.texts() == {FILE: "late", "other.text.j2": "x"}
    late.close()


def test_asking_makes_no_database(tmp_path: Path, clock: Clock) -> None:
    versions = TemplateVersions(Database(f"sqlite:///{tmp_path}/none.db"), clock)
    assert versions.texts() == {}
    assert list(tmp_path.iterdir()) == []
    versions.save({FILE: "one"})
    assert versions.texts() == {FILE: "one"}
