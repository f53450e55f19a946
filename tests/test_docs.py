"""The documentation cannot lie: its commands exist with their options, its example workload keeps the contract."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from autoopt import cli
from autoopt.study.request import FACTS

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
OPTION = re.compile(r"(?<![\w-])--[a-z](?:[a-z-]*[a-z])?(?![\w-])")
OTHER_PROGRAM = re.compile(r"^\s*(?:\$ )?(mlflow|pip|python3?) ")
COMMAND = re.compile(r"^\s*(?:\$ )?(autoopt [a-z]+[^\n|#`]*)", re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    """Every line of a page that starts with `autoopt`, without its comment."""
    return [(page.name, match.strip()) for page in PAGES for match in COMMAND.findall(page.read_text())]


@pytest.mark.parametrize(("page", "line"), commands())
def test_documented_commands_exist(page: str, line: str) -> None:
    """Each command line of the documentation names a command and options that exist."""
    _, name, *words = shlex.split(line)
    group = typer.main.get_command(cli.app)
    known = group.commands[name]  # type: ignore[attr-defined]
    options = {option for parameter in known.params for option in parameter.opts}

    for word in words:
        if word.startswith("-") and word != "...":
            assert word.split("=")[0] in options, f"{page}: {line}"


def test_every_command_has_a_help_text_and_is_in_the_readme() -> None:
    """No command is undocumented."""
    readme = (ROOT / "README.md").read_text()
    for name, command in typer.main.get_command(cli.app).commands.items():  # type: ignore[attr-defined]
        assert command.help
        assert f"autoopt {name}" in readme


def test_every_option_that_is_mentioned_exists() -> None:
    """Wherever README and docs write `--something`, a command has it; lines of other programs are left out."""
    group = typer.main.get_command(cli.app)
    options = {"--help"}
    for command in group.commands.values():  # type: ignore[attr-defined]
        options |= {option for parameter in command.params for option in parameter.opts}
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for line in page.read_text().splitlines():
            if not OTHER_PROGRAM.match(line):
                assert set(OPTION.findall(line)) <= options, f"{page.name}: {line}"


def test_the_readme_explains_every_option_of_a_search() -> None:
    """The table of options has all that `autoopt search` takes and no other one, with the defaults of SearchRequest."""
    table = next(part for part in (ROOT / "README.md").read_text().split("\n\n") if part.startswith("| option |"))
    command = typer.main.get_command(cli.app).commands["search"]  # type: ignore[attr-defined]
    options = {option for parameter in command.params for option in parameter.opts}
    assert set(OPTION.findall(table)) == options - {"-h", "--help"}
    for item in FACTS:
        default = ",".join(item.default) if isinstance(item.default, tuple) else item.default
        if default not in (None, {}):
            assert f"`{item.option} {default}`" in table


def test_the_first_lines_of_the_readme_are_the_two_commands() -> None:
    """A newcomer sees `make demo` and `make test` first."""
    lines = [line.strip() for line in (ROOT / "README.md").read_text().splitlines() if line.strip()]

    assert lines[1].startswith("make demo")
    assert lines[2].startswith("make test")


def test_pages_link_to_what_is_there() -> None:
    """Relative links of the documentation lead to files of the repository."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
