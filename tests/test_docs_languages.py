"""Both languages say the same, part by part, and what is to be typed works as it stands."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from documents import (
    CHINESE,
    DOCS,
    ENGLISH,
    README,
    anchors,
    blocks,
    both,
    fenced,
    headings,
    leads_to,
    links,
    name_of,
    part,
    parts,
    prose,
    rows,
    shell_lines,
    spans,
    text_of,
)  # fmt: skip
from support import ROOT, TOKEN, environment

from bridge import create_app
from bridge.receiving.routing import parse
from bridge.sandbox import Sandbox
from bridge.sandbox.server import create_sandbox_app

PAGES = sorted(CHINESE)
# Pages with commands for the bridge alone; those of the platforms have the platforms' own.
OURS = [page for page in PAGES if page.parent != DOCS / "deploy"]
# What prepares a machine; tests/system/test_wheel.py does the same with a wheel.
INSTALLS = ("python3 -m venv .venv", ". .venv/bin/activate", "pip install pgyer-wecom-bridge")

FIGURE = re.compile(r"\d(?:[\d,.:]*\d)?")
MARK = re.compile(r"<!-- .*? -->")


def comparable(document: Path, link: str) -> str:
    """Return a link as one for both languages: the English page, and which heading of it."""
    if link.startswith(("http://", "https://")):
        return link
    file, anchor = leads_to(document, link)
    heading = anchors(text_of(file)).index(anchor) if anchor else None
    return f"{name_of(ENGLISH.get(file, file))} {heading}"


def without_comments(language: str, inside: str) -> str:
    """Return a block without what is written for people: comments, and an output of a command."""
    if not language:
        return ""
    return re.sub(r"(?m)(?:^|[ \t]+)# .*$", "", inside)


def outline(document: Path) -> list[dict[str, object]]:
    """Return for each part what has to be equal in both languages."""
    text = text_of(document)
    return [
        {
            "heading": level,
            "blocks": [without_comments(*block) for block in fenced(inside)],
            "links": sorted(comparable(document, link) for link in links(inside)),
            "code": {span for span in spans(inside) if not re.search("[\u4e00-\u9fff]", span)},
            "rows": [len(row) for row in rows(inside)],
            "items": len(re.findall(r"^(?:- |\d+\. )", inside, re.MULTILINE)),
            "paragraphs": len(re.findall(r"\n\n(?=[^\n])", inside)),
        }
        for (level, _), inside in zip(headings(text), parts(text), strict=True)
    ]


def test_every_page_is_there_in_both_languages() -> None:
    chinese = {ROOT / "README.zh-CN.md", *(DOCS / "zh-CN").rglob("*.md")}
    assert chinese == set(CHINESE.values())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_both_languages_have_the_same_parts(page: Path) -> None:
    english, chinese = outline(page), outline(CHINESE[page])
    assert [each["heading"] for each in english] == [each["heading"] for each in chinese]
    for ours, theirs, (_, title) in zip(english, chinese, headings(text_of(page)), strict=True):
        assert ours == theirs, title


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_language_is_one_click_from_the_other(page: Path) -> None:
    """Before all else, so that nobody scrolls through what they cannot read."""
    for document, other in ((page, CHINESE[page]), (CHINESE[page], page)):
        head = "\n".join(text_of(document).splitlines()[:3])
        assert (other, "") in [leads_to(document, link) for link in links(head)]
    assert text_of(README).startswith("[简体中文](README.zh-CN.md)")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_chinese_pages_are_chinese(page: Path) -> None:
    """Each heading, paragraph, item and cell of more than a few words has Chinese in it."""
    for line in prose(text_of(CHINESE[page])).splitlines():
        words = re.sub(r"`[^`]*`|\]\([^)]*\)|<!--.*?-->", "", line)
        if len(re.findall(r"[A-Za-z]{2,}", words)) > 4:
            assert re.search("[\u4e00-\u9fff]", words), line


@pytest.mark.parametrize("page", ["scaling.md", "reliability.md"])
def test_both_languages_have_the_same_figures(page: str) -> None:
    """And the benchmark's marks in the same rows."""
    english, chinese = map(text_of, both(page))
    for ours, theirs, (_, title) in zip(
        parts(english), parts(chinese), headings(english), strict=True
    ):
        assert sorted(FIGURE.findall(ours)) == sorted(FIGURE.findall(theirs)), title
        assert MARK.findall(ours) == MARK.findall(theirs), title


# What is to be typed


@pytest.mark.parametrize("page", [*OURS, *(CHINESE[page] for page in OURS)], ids=name_of)
def test_every_command_works_as_it_stands(page: Path, tmp_path: Path) -> None:
    """`bridge` and `make` have tests of their own; what is posted is posted here."""
    app = create_app(environment(tmp_path)).test_client()
    sandbox = create_sandbox_app(Sandbox()).test_client()
    servers = {"https://<app>": app, "http://127.0.0.1:9000": sandbox}
    for line in shell_lines(text_of(page)):
        if line in INSTALLS or re.match(r"(?:bridge|make) [a-z]|(?:export )?[A-Z_]+=\S+", line):
            continue
        curl, *data, address = shlex.split(line)
        assert curl == "curl" and set(data[::2]) == {"-d"}, line
        server, path = re.fullmatch(r"(https?://[^/]+)(/.*)", address).groups()
        answer = servers[server].post(
            path.replace("<BRIDGE_TOKEN>", TOKEN), data="&".join(data[1::2]),
            content_type="application/x-www-form-urlencoded",
        )  # fmt: skip
        assert answer.status_code in (200, 201, 204), line
        if servers[server] is app:
            assert answer.json == {"status": "accepted", "event": 1, "bots": ["default"]}


def test_the_readme_s_change_to_a_template_shows_in_its_preview(
    cli: Callable[..., Result], tmp_path: Path
) -> None:
    [line] = blocks(part(README, "In the console"))
    [command] = shell_lines(part(README, "As a file"))
    source = (ROOT / "templates/updateVersion.markdown.j2").read_text("utf-8")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/updateVersion.markdown.j2").write_text(
        source.replace("\n", f"\n{line}", 1), "utf-8"
    )
    shown = cli(*command.split()[1:], BRIDGE_TEMPLATES="templates")
    assert shown.exit_code == 0
    assert line.strip() in shown.stdout


def test_the_readme_s_second_group_gets_the_crash(cli: Callable[..., Result]) -> None:
    setting, *commands = shell_lines(part(README, "A second group"))
    [rules] = [inside for language, inside in fenced(text_of(README)) if language == "toml"]
    Path("routes.toml").write_text(rules, "utf-8")
    name, _, value = setting.partition("=")
    assert value == "paste-the-key-here"
    done = cli(*commands[0].split()[1:], "--json", **{name: "another-key"})
    assert '"dev"' in done.stdout and '"wangqing"' in done.stdout


@pytest.mark.parametrize("page", OURS, ids=name_of)
def test_every_block_of_rules_or_json_can_be_read(page: Path) -> None:
    for document in (page, CHINESE[page]):
        for language, inside in fenced(text_of(document)):
            if language == "toml":
                routes, problems = parse(inside, "routes.toml", ["default", "dev"])
                assert routes and problems == []
            elif language == "json":
                json.loads(inside)


@pytest.mark.parametrize("page", both("templates.md"), ids=name_of)
def test_the_template_that_is_shown_is_the_one_that_is_used(page: Path) -> None:
    [shown] = blocks(part(page, "What a template looks like"))
    assert shown == (ROOT / "templates/updateVersion.markdown.j2").read_text("utf-8")
