"""What the documents name exists: files, links, commands, targets, variables, metrics."""

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result
from documents import (
    CHINESE,
    DOCUMENTS,
    README,
    anchors,
    blocks,
    both,
    leads_to,
    links,
    name_of,
    part,
    rows,
    spans,
    text_of,
)  # fmt: skip
from environments import NEEDED
from support import ROOT, environment

from bridge import create_app
from bridge.cli import commands
from bridge.settings import load

CONTRIBUTING = ROOT / "CONTRIBUTING.md"
READMES = [README, CHINESE[README]]
PASSWORD = "a-password-of-ours"

# Files that users make, some of them by mistake.
EXAMPLES = {"routes.toml", "crashlog.text.j2", "updateversion.markdown.j2", "crashLog.Text.j2",
            "crashlog.markdown.j2.txt"}  # fmt: skip
FILE = re.compile(r"[\w.*-][\w./*-]*\.(?:css|html|j2|js|json|lua|md|mo|po|py|sql|toml|txt|yml)")
FOLDER = re.compile(r"\.?[a-z_]+(?:/[\w.-]+)*/")


def exists(name: str) -> bool:
    """Return whether a file is there, from one of the roots that documents use; `*` is any name."""
    return any(next((ROOT / root).glob(name), None) for root in ("", "bridge", "templates"))


def names(document: Path) -> set[str]:
    """Return the files and folders that a document's code spans name."""
    return {
        span for span in spans(text_of(document)) if FILE.fullmatch(span) or FOLDER.fullmatch(span)
    }


# Files and links


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_file_that_is_named_exists(document: Path) -> None:
    missing = [name for name in names(document) - EXAMPLES if not exists(name)]
    assert not missing


def test_every_exception_is_needed() -> None:
    named = {name for document in DOCUMENTS for name in names(document)}
    assert named >= EXAMPLES
    assert not [name for name in EXAMPLES if exists(name)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in links(text_of(document)):
        if target.startswith(("http://", "https://")):
            continue
        file, anchor = leads_to(document, target)
        assert file.is_relative_to(ROOT) and file.exists(), target
        assert not anchor or anchor in anchors(text_of(file)), target


def test_every_page_and_picture_is_linked() -> None:
    pictures = [*(ROOT / "docs").glob("*.png"), *(ROOT / "docs").glob("*.svg")]
    linked = {leads_to(page, link)[0] for page in DOCUMENTS for link in links(text_of(page))}
    assert {*CHINESE, *CHINESE.values(), *pictures} <= linked


@pytest.mark.parametrize("document", READMES, ids=name_of)
def test_the_readme_is_read_in_one_sitting(document: Path) -> None:
    assert len(text_of(document).splitlines()) <= 300


def test_every_package_and_module_has_a_place_in_the_table() -> None:
    named = {span for row in rows(part(CONTRIBUTING, "Layout")) for span in spans(row[0])}
    bridge = ROOT / "bridge"
    packages = {f"{path.parent.name}/" for path in bridge.glob("*/__init__.py")}
    modules = {path.name for path in bridge.glob("*.py") if not path.name.startswith("__")}
    assert named == packages | modules


def test_every_test_that_is_named_exists() -> None:
    """A test that CONTRIBUTING names is in a file that the same line names."""
    for line in text_of(CONTRIBUTING).splitlines():
        files = [span for span in spans(line) if re.fullmatch(r"tests/\S+\.py", span)]
        tests = "".join(text_of(ROOT / file) for file in files)
        for name in (span for span in spans(line) if re.fullmatch(r"test_\w+", span)):
            assert f"def {name}(" in tests, name


def test_every_name_in_a_recipe_is_in_a_file_of_its_line() -> None:
    """`_POLICY`, `Settings.secrets` and the like: where CONTRIBUTING says they are."""
    _, _, recipes = text_of(CONTRIBUTING).partition("## A new event type")
    for line in re.findall(r"^\d\. .*", recipes, re.MULTILINE):
        files = [span for span in spans(line) if (ROOT / span).is_file()]
        sources = "".join(text_of(ROOT / file) for file in files)
        for span in set(spans(line)) - set(files):
            if re.fullmatch(r"_?[A-Z]\w*(\.\w+)?", span):
                assert all(part in sources for part in span.split(".")), line


def test_the_path_of_an_event_can_be_read_in_an_hour() -> None:
    """CONTRIBUTING promises it: at 50 lines a minute, blank ones included."""
    text = part(CONTRIBUTING, "The path of an event reads in an hour")
    steps = re.findall(r"^\d+\. (.*)", text, re.MULTILINE)
    files = {span for step in steps for span in spans(step) if FILE.fullmatch(span)}
    assert len(files) >= 10
    assert sum(len(text_of(ROOT / "bridge" / file).splitlines()) for file in files) <= 3000


# Commands


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name)


def check_use(line: str) -> tuple[str, ...]:
    """Check a use of the command, such as `retry --bot NAME`; return the command's path."""
    command: click.Command = commands
    path: list[str] = []
    for word in shlex.split(line, comments=True):
        if isinstance(command, click.Group) and not word.startswith("-"):
            assert word in command.commands, line
            command = command.commands[word]
            path.append(word)
        elif word.startswith("-") and word != "-":
            known = {o for p in command.params for o in [*p.opts, *p.secondary_opts]}
            assert word.partition("=")[0] in known | {"-h", "--help"}, line
    return tuple(path)


def uses(text: str) -> list[str]:
    """Return what follows `bridge` or `python -m bridge` in code, up to the end of the line."""
    code = [*spans(text), *(line for block in blocks(text) for line in block.splitlines())]
    use = re.compile(r"(?:^|[\s/])bridge ((?!bridge )[a-z]+(?![\w/.])[^|;&\"]*)")
    found = map(use.search, code)
    return [use[1] for use in found if use]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_that_is_named_exists(document: Path) -> None:
    for use in uses(text_of(document)):
        check_use(use)


@pytest.mark.parametrize("document", both("command.md"), ids=name_of)
def test_the_table_of_commands_has_them_all_and_only_options_that_they_have(
    document: Path,
) -> None:
    documented = set()
    for first, meaning in rows(part(document, "Commands")):
        paths = {check_use(use) for use in spans(first)}
        documented |= paths
        for span in spans(meaning):
            if span.startswith("-") and span != "-":
                for path in paths:
                    check_use(f"{shlex.join(path)} {span}")
            elif span.split()[0] in commands.commands:
                check_use(span)
    assert documented == set(leaves(commands))


def test_a_command_or_an_option_that_is_not_there_is_found() -> None:
    for wrong in ("chek", "db downgrade", "retry --bots dev", "--jsn"):
        with pytest.raises(AssertionError):
            check_use(wrong)
    assert check_use("db upgrade") == ("db", "upgrade")
    assert uses("`bridge retry ID`\n```sh\n.venv/bin/bridge url  # why\n```") == [
        "retry ID",
        "url  # why",
    ]


@pytest.mark.parametrize("document", both("command.md"), ids=name_of)
def test_the_output_of_the_command_is_as_documented(
    document: Path, cli: Callable[..., Result], tmp_path: Path
) -> None:
    [shown] = [block for block in blocks(text_of(document)) if block.startswith("$ ")]
    use, *lines = shown.splitlines()
    variable, command = use.removeprefix("$ ").split(maxsplit=1)
    language = dict([variable.split("=")])
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    (tmp_path / "templates/crashlog.markdown.j2").write_text("{{ link }}\n\n{{ titel }}")
    relative = {"BRIDGE_TEMPLATES": "templates", "DATABASE_URL": "sqlite:///bridge.db"}
    done = cli(*command.split()[1:], **relative, LC_MESSAGES="", **language)
    assert done.stdout.splitlines() == lines
    assert done.exit_code == 1


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_target_of_make_exists(document: Path) -> None:
    targets = re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE)
    code = [*spans(text_of(document)), *blocks(text_of(document))]
    named = [name for part in code for name in re.findall(r"^make ([a-z]+)", part, re.MULTILINE)]
    assert set(named) <= set(targets)


# Variables


class Asked(dict[str, str]):
    """An environment that notes which variables are read."""

    def __init__(self) -> None:
        super().__init__(NEEDED)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


def variables(document: Path = README) -> dict[str, str]:
    """Return the variables of the README's table with the cell of their default."""
    return {spans(row[0])[0]: row[2] for row in rows(part(document, "Variables"))}


@pytest.mark.parametrize("document", READMES, ids=name_of)
def test_the_table_of_variables_is_what_the_settings_read(document: Path) -> None:
    load(asked := Asked())
    documented = set(variables(document)) - {"WECOM_BOT_KEY_<NAME>"}
    assert documented == {name for name in asked.names if not name.endswith("_FILE")}


@pytest.mark.parametrize("document", both("variables.md"), ids=name_of)
def test_the_variables_that_may_come_from_a_file_are_listed(document: Path) -> None:
    load(asked := Asked())
    from_files = {name.removesuffix("_FILE") for name in asked.names if name.endswith("_FILE")}
    listed = {s for s in spans(part(document, "From files")) if re.fullmatch("[A-Z][A-Z_<>]+", s)}
    assert listed == from_files | {"WECOM_BOT_KEY_<NAME>"}


@pytest.mark.parametrize("name", variables())
def test_every_variable_of_the_table_is_known_and_checked(name: str) -> None:
    name = name.replace("<NAME>", "DEV")
    _, problems = load({**NEEDED, name: "x y"})
    assert any(problem.startswith(name) for problem in problems)
    assert not any("is not a variable" in problem for problem in problems)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_variable_that_is_named_is_known(document: Path) -> None:
    """Anywhere: in the text, in a block, in what a command sets; but for those said to be wrong."""
    text = re.sub(r"^- .*`BRIDGE_PORT`.*$", "", text_of(document), flags=re.MULTILINE)
    names = set(re.findall(r"\b(?:BRIDGE|WECOM|PGYER)_[A-Z_]*[A-Z](?![A-Z_…<])", text))
    _, problems = load({**NEEDED, **dict.fromkeys(names - NEEDED.keys(), "x y")})
    assert not [problem for problem in problems if "is not a variable" in problem]


@pytest.mark.parametrize("document", READMES, ids=name_of)
def test_every_default_of_the_table_is_the_one_that_is_used(document: Path) -> None:
    cells = variables(document).items()
    defaults = {name: cell.strip("`") for name, cell in cells if re.fullmatch("`[^`]+`", cell)}
    assert len(defaults) >= 10
    assert load({**NEEDED, **defaults}) == load(NEEDED)


# Metrics


@pytest.mark.parametrize("document", both("monitoring.md"), ids=name_of)
def test_the_table_of_metrics_is_what_prometheus_gets(document: Path, tmp_path: Path) -> None:
    app = create_app(environment(tmp_path, BRIDGE_ADMIN_PASSWORD=PASSWORD))
    answer = app.test_client().get("/metrics", auth=("", PASSWORD))
    served = set(re.findall(r"^# TYPE (bridge_\w+)", answer.text, re.MULTILINE))
    documented = {span for row in rows(part(document, "Metrics")) for span in spans(row[0])}
    assert {name for name in served if not name.endswith("_created")} == documented
