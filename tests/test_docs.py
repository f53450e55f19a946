"""The documentation cannot lie: its commands exist with their options, its Python runs, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from autoopt import cli
from autoopt.study.request import FACTS
from tests.deploy import studies

ROOT = Path(__file__).parents[1]
DOCS = sorted(ROOT.glob("docs/**/*.md"))
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS, *ROOT.glob("benchmarks/*.md")])
OPTION = re.compile(r"(?<![\w-])--[a-z](?:[a-z-]*[a-z])?(?![\w-])")
OTHER_PROGRAM = re.compile(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(mlflow|pip|python3?) ")
COMMAND = re.compile(r"^\s*(?:\$ )?(autoopt [a-z]+[^\n|#`]*)", re.MULTILINE)

PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXECUTED = ("README.md", "docs/deployment.md")
"""The pages whose Python is run as it stands."""


def commands() -> list[tuple[str, str]]:
    """Every line of a page that starts with `autoopt`, without its comment."""
    return [(page.name, match.strip()) for page in PAGES for match in COMMAND.findall(page.read_text())]


@pytest.mark.parametrize(("page", "line"), commands())
def test_documented_commands_exist(page: str, line: str) -> None:
    """Each command line of the documentation names a command and options that exist."""
    _, name, *words = shlex.split(line)
    known = leaves()[f"{name} {words[0]}" if words and f"{name} {words[0]}" in leaves() else name]
    options = {option for parameter in known.params for option in parameter.opts}

    for word in words:
        if word.startswith("-") and word != "...":
            assert word.split("=")[0] in options, f"{page}: {line}"


def leaves() -> dict[str, Any]:
    """Every command by its name, of a group by two words."""
    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(cli.app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {name: command} if inner is None else {f"{name} {word}": item for word, item in inner.items()}
    return found


def test_every_command_has_a_help_text_and_is_in_the_readme() -> None:
    """No command is undocumented."""
    readme = (ROOT / "README.md").read_text()
    for name, command in leaves().items():
        assert command.help
        assert f"autoopt {name}" in readme


def test_every_option_that_is_mentioned_exists() -> None:
    """Wherever README and docs write `--something`, a command has it; lines of other programs are left out."""
    options = {"--help"}
    for command in leaves().values():
        options |= {option for parameter in command.params for option in parameter.opts}
    for page in [ROOT / "README.md", *DOCS]:
        for line in page.read_text().splitlines():
            if not OTHER_PROGRAM.match(line):
                assert set(OPTION.findall(line)) <= options, f"{page.name}: {line}"


def test_every_option_is_mentioned() -> None:
    """README.md or a page of docs/ names each option of each command, by its long or its short name."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "\n".join(page.read_text() for page in pages)
    for name, command in leaves().items():
        for parameter in command.params:
            known = [option for option in parameter.opts if re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text)]
            assert known or parameter.param_type_name == "argument", f"{name} {parameter.opts}"


def test_the_readme_explains_every_option_of_a_search() -> None:
    """The table of options has all that `autoopt search` takes and no other one, with the defaults of SearchRequest."""
    table = next(part for part in (ROOT / "README.md").read_text().split("\n\n") if part.startswith("| option |"))
    command = typer.main.get_command(cli.app).commands["search"]  # type: ignore[attr-defined]
    options = {option for parameter in command.params for option in parameter.opts}
    assert set(OPTION.findall(table)) == options - {"-h", "--help"}
    for item in FACTS:
        default = ",".join(item.default) if isinstance(item.default, tuple) else item.default
        if default not in (None, {}, "") and default is not False:
            assert f"`{item.option} {default}`" in table


def test_the_first_lines_of_the_readme_are_the_two_commands() -> None:
    """A newcomer sees `make demo` and `make test` first."""
    lines = [line.strip() for line in (ROOT / "README.md").read_text().splitlines() if line.strip()]

    assert lines[1].startswith("make demo")
    assert lines[2].startswith("make test")


def headings(page: Path) -> list[str]:
    """The headings of a page as they are read, without what is fenced."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", line) for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page that lead to the same heading in a repository's view and in the site."""
    words = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings(page)]
    return {re.sub(r"\s", "-", text) for text in words} & {re.sub(r"[-\s]+", "-", text) for text in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_link_to_what_is_there(page: Path) -> None:
    """Relative links lead to files of the repository, and what stands behind # to a heading of theirs."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#]*)#?([^)]*)\)", text):
        there = page.parent / target if target else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name} links to {target}#{anchor}"
        if page in DOCS:
            assert there.resolve().is_relative_to(ROOT / "docs"), f"{page.name}: the site has no {target}"


def test_every_page_of_docs_is_in_the_site() -> None:
    """mkdocs.yml lists each page of docs once and nothing else; scripts that it adds to pages are files of docs."""
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())

    def pages(item: object) -> list[str]:
        if isinstance(item, str):
            return [item]
        return [page for part in (item.values() if isinstance(item, dict) else item) for page in pages(part)]

    assert sorted(pages(settings["nav"])) == sorted(page.relative_to(ROOT / "docs").as_posix() for page in DOCS)
    assert settings["theme"]["font"] is False
    for script in settings["extra"]["polyfills"]:
        assert (ROOT / "docs" / script).is_file()
    assert not any("```mermaid" in page.read_text() for page in DOCS), "the site would fetch a script that draws it"


ALLOWING = "import autoopt, functools\nautoopt.load = functools.partial(autoopt.load, stand_ins=True)\n"
"""The bundle of these tests is of the runtime that only tests use, which `load` refuses otherwise."""


def python_blocks() -> list[tuple[str, str]]:
    """Page and text of every Python example that must run."""
    return [(page, code) for page in EXECUTED for code in PYTHON.findall((ROOT / page).read_text())]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a search of the workload histo and a pull leave it, with the tiny model: mlruns/ and deploy/."""
    folder = tmp_path_factory.mktemp("searched")
    (folder / "mlruns").mkdir()
    studies.write_home(folder / "mlruns", workload="histo")
    done = execute("import autoopt\nautoopt.pull('deploy')", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def project(searched: Path, tmp_path: Path) -> Path:
    """A copy of `searched`, which the example may change."""
    shutil.copytree(searched, tmp_path / "project")
    return tmp_path / "project"


def execute(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python text in a process of its own, in `folder`."""
    return subprocess.run(
        [sys.executable, "-c", ALLOWING + code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("page", "code"), python_blocks())
def test_documented_python_runs(page: str, code: str, project: Path) -> None:
    """Every Python example of README.md and docs/deployment.md runs as it stands where a study was searched."""
    done = execute(code, project)

    assert done.returncode == 0, f"{page}:\n{code}\n{done.stderr}"


@pytest.mark.parametrize(("page", "code"), python_blocks())
def test_a_wrong_example_would_be_found(page: str, code: str, project: Path) -> None:
    """An example that calls what is not there fails where the right one runs, so the test above tests something."""
    (name,) = set(re.findall(r"(?:autoopt|model|predictor)\.(pull|predict)\(", code))

    assert execute(code.replace(f".{name}(", f".{name}s("), project).returncode != 0, page


def test_both_pages_have_examples() -> None:
    """A page whose example went, or is fenced in another way, does not pass unread."""
    assert {page for page, _ in python_blocks()} == set(EXECUTED)


def test_the_documented_pull_runs(project: Path) -> None:
    """The first command of docs/deployment.md, as it stands, replaces the bundle that is there."""
    page = (ROOT / "docs" / "deployment.md").read_text()
    command = next(iter(re.findall(r"^    (autoopt pull .*)$", page, re.MULTILINE)))
    before = (project / "deploy" / "bundle.json").read_text()

    words = shlex.split(command)
    done = execute(f"import sys\nfrom autoopt.cli import main\nsys.argv = {words!r}\nmain()", project)

    assert done.returncode == 0, done.stderr
    assert "picked trial #2" in done.stdout
    assert (project / "deploy" / "bundle.json").read_text() != before
